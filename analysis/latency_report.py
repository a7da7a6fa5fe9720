"""Prints and writes the table of races and one figure per machine, for `birds table latency`."""

import contextlib
from pathlib import Path

from analysis.figures import save
from analysis.latency import as_markdown, latency_table
from analysis.markdown import write_table
from analysis.pareto import pareto_figure
from birds.core.spec import UserError


def print_latency_table(runs_dir: Path) -> None:
    """Print the table; write it as Markdown, CSV and LaTeX, and one Pareto figure per machine, to
    `tables/`.

    Raises UserError if nothing was measured yet.
    """
    table = latency_table(runs_dir)
    text, folder = as_markdown(table), runs_dir / "tables"
    written = [write_table(folder / "latency", text, table.to_csv(index=False))]
    for machine, rows in table.groupby("machine", sort=False):
        with contextlib.suppress(UserError):  # of a machine whose models' accuracy is not known
            written += map(str, save(pareto_figure(rows), folder / f"pareto-{machine}"))
    print(f"\n{text}\nWritten: {', '.join(written)}")

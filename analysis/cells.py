"""Gives names to a sweep's cells: the variant and the other swept choices."""

from pathlib import Path

import pandas as pd

from analysis.frame import short, sweep_frame, swept_choices
from analysis.reading import once
from analysis.tables import sweep_table
from birds.core import letters
from birds.core.spec import UserError


@once
def named_runs(runs_dir: Path, sweep: str) -> pd.DataFrame:
    """The sweep's finished runs with the name of their cell (`cell`).

    Raises UserError if the sweep does not exist or has no finished run.
    """
    runs, missing = sweep_frame(runs_dir, sweep)
    if runs.empty:
        raise UserError(f"the sweep {sweep!r} has no finished run yet ({len(missing)} requested)")
    swept = swept_choices(runs_dir, sweep)
    words: dict[str, str] = {}
    for run in runs.to_dict("records"):
        own = swept.loc[run["key"]]
        also = [f"{short(choice)}={own[choice]}" for choice in swept.columns if own[choice]]
        words.setdefault(run["family"], letters.label(" ".join([run["variant"], *also])))
    return runs.assign(cell=runs["family"].map(words))


def cells(runs_dir: Path, sweep: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sweep's table and its runs, both with the name of the cell (`cell`)."""
    table, _ = sweep_table(runs_dir, sweep)
    runs = named_runs(runs_dir, sweep)
    names = runs.drop_duplicates("family").set_index("family")["cell"]
    return table.assign(cell=table["family"].map(names)), runs

"""A sweep's cells under names for people: a variant, and whatever else was swept."""

from pathlib import Path

import pandas as pd

from analysis.frame import short, sweep_frame
from analysis.tables import sweep_table, swept_columns
from birds.core import letters


def cells(runs_dir: Path, sweep: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sweep's table with a name for each cell beside its split (`cell`), and its runs with the
    cell they are of.
    """
    table, _ = sweep_table(runs_dir, sweep)
    swept = swept_columns(table)
    words = []
    for row in table.to_dict("records"):
        also = [f"{short(choice)}={row[choice]}" for choice in swept if row[choice]]
        words.append(letters.label(" ".join([row["variant"], *also])))
    table = table.assign(cell=words)
    runs, _ = sweep_frame(runs_dir, sweep)
    return table, runs.assign(
        cell=runs["family"].map(dict(zip(table["family"], words, strict=True)))
    )

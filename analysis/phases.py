"""Where the seconds of a sweep's runs went: the phases of each cell."""

from pathlib import Path

import pandas as pd

from analysis.cells import cells
from analysis.markdown import markdown

START = "cost_seconds_"
NOTE = (
    "Seconds of a run by phase, mean over seeds: open the images, prepare (models, features of a "
    "frozen encoder),\ntrain, test, test under noise, save. Pretrainings are runs of their own."
)


def phase_text(runs_dir: Path, sweep: str) -> str:
    """The table as Markdown with its note; empty if no record has the seconds of its phases."""
    _, runs = cells(runs_dir, sweep)
    columns = [name for name in runs.columns if name.startswith(START)]
    if not columns:
        return ""
    means = runs.groupby(["split", "cell"], sort=False)[columns].mean()
    names = [name.removeprefix(START) for name in columns]
    rows = []
    for (split, cell), own in means.iterrows():
        spent = ["-" if pd.isna(value) else f"{value:.1f}" for value in own]
        rows.append([f"{split}/{100 - int(split)}", str(cell), *spent])
    return f"{markdown(['split', 'run', *names], rows)}\n\n{NOTE}"

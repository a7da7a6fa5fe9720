"""Reads single runs of a sweep for tables and figures: the best one, predictions, and epochs."""

from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from analysis import frame
from analysis.reading import once
from birds.core.spec import UserError
from birds.core.store import RunFolder


def best_run(runs: pd.DataFrame) -> pd.Series:
    """The run with the best accuracy on validation images."""
    return runs.loc[runs["valid_accuracy"].idxmax()]


def predictions(runs_dir: Path, key: str) -> dict[str, NDArray[Any]]:
    """A run's saved predictions on its test images: label, logits, image, classes.

    Raises UserError if they are missing.
    """
    saved = frame.predictions(runs_dir, key, "classes", "test_label", "test_logits", "test_image")
    if saved is None:
        raise UserError(
            f"the predictions of run {key} are missing; remove its record.json and run it again"
        )
    return dict(zip(("classes", "label", "logits", "image"), saved, strict=True))


def curves(runs_dir: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """The epochs of all runs that have any, with each run's key, variant, split, best epoch and
    maximum number of epochs.

    Raises UserError if no run has epochs; a head that is fitted in one step has none.
    """
    files = {run.key: RunFolder(runs_dir, run.key).curves_file for run in runs.itertuples()}
    found = [_epochs(file).assign(key=key) for key, file in files.items() if file.exists()]
    if not found:
        raise UserError("no run has curves: heads that are fitted in one step have no epochs")
    about = runs.reindex(
        columns=["key", "variant", "split", "family", "best_epoch", "epochs_asked"]
    )
    return pd.concat(found, ignore_index=True).merge(about, on="key")


@once
def _epochs(file: Path) -> pd.DataFrame:
    return pd.read_csv(file)

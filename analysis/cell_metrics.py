"""The metrics of a cell of a sweep (runs that differ only in the seed): values and intervals."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frame import predictions
from analysis.intervals import (
    as_proportions,
    balanced_accuracy,
    balanced_by_image,
    image_bootstrap,
    macro_f1_by_image,
    seed_interval,
)
from analysis.statistics import crossed

METRICS = ("accuracy", "macro_f1")
BALANCED = "balanced_accuracy"
FEWEST_IMAGES = 2  # test images for an interval
OVER = {  # the kind of interval: by several seeds or one, with predictions or without
    (True, True): "seeds and test images",
    (True, False): "seeds (Student's t)",
    (False, False): "test images if there is one seed",
}


def metric_intervals(
    runs_dir: Path, cell: pd.DataFrame
) -> tuple[dict[str, tuple[float, float]], str | None]:
    """The interval of each metric of a cell, and the kind of interval; nan and None for fewer than
    two test images.
    """
    if cell["images_test"].min() < FEWEST_IMAGES:
        return dict.fromkeys(METRICS, (np.nan, np.nan)), None
    seeds = len(cell)
    half = _half_widths(runs_dir, cell["key"]) if seeds > 1 else {}
    bootstrap = _bootstrap(runs_dir, cell["key"].iloc[0]) if seeds == 1 else {}
    found = {}
    for metric in (*METRICS, BALANCED):
        values = values_of(cell, metric)
        if metric in half and values:
            mean = float(np.mean(values))
            ends = mean - half[metric], mean + half[metric]
        elif seeds > 1 and values:
            ends = seed_interval(values)
        else:
            ends = bootstrap.get(metric, (np.nan, np.nan))
        found[metric] = as_proportions(*ends)
    return found, OVER[seeds > 1, bool(half)]


def values_of(cell: pd.DataFrame, metric: str) -> list[float]:
    """A metric of each run of a cell; empty if the records lack it."""
    if metric == BALANCED:
        if "test_confusion" not in cell or cell["test_confusion"].isna().any():
            return []
        return [float(balanced_accuracy(np.array(one))) for one in cell["test_confusion"]]
    return [float(value) for value in cell[f"test_{metric}"]]


def _half_widths(runs_dir: Path, keys: Iterable[str]) -> dict[str, float]:
    """Half the intervals of a cell's metrics over seeds and test images; empty if predictions are
    missing or seeds have different images.
    """
    saved = [_predictions(runs_dir, key) for key in keys]
    if any(one is None for one in saved) or len({one[0].tobytes() for one in saved if one}) > 1:
        return {}
    accuracy = np.array([label == said for label, said, _ in filter(None, saved)], float)
    f1 = np.array([macro_f1_by_image(*one) for one in filter(None, saved)])
    balanced = np.array([balanced_by_image(*one[:2]) for one in filter(None, saved)])
    by_metric = {"accuracy": accuracy, "macro_f1": f1, BALANCED: balanced}
    return {name: float(crossed(v).satterthwaite()) for name, v in by_metric.items()}


def _predictions(
    runs_dir: Path, key: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], int] | None:
    """True and predicted classes of a run's test images, and the number of classes; None if
    missing.
    """
    saved = predictions(runs_dir, key, "test_label", "test_logits")
    return (saved[0], saved[1].argmax(1), saved[1].shape[1]) if saved else None


def _bootstrap(runs_dir: Path, key: str) -> dict[str, tuple[float, float]]:
    saved = _predictions(runs_dir, key)
    return image_bootstrap(*saved) if saved else {}

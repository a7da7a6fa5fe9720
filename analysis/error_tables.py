"""Tables of errors for every cell of a sweep: the worst classes, the most confused pairs, and how
often the second guess is right.

All seeds of a cell are tested on the same images, so intervals are over seeds crossed with images
(`analysis.statistics.crossed`). With one seed, or one image of a class, they are Wilson's over
images. Classes and pairs are selected because they are the worst; the interval is for a single
class and does not account for the selection.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.cells import named_runs
from analysis.intervals import wilson
from analysis.single_runs import predictions
from analysis.statistics import crossed
from birds.core.guesses import SURE, guesses
from birds.core.spec import UserError

WORST = 5  # classes and pairs of a cell
HESITANT = 0.1  # a margin below this counts as hesitation

Hits = NDArray[np.float64]


def share(values: Hits) -> dict[str, float]:
    """The mean of right or wrong by seed and image (S, N), with its 95 % interval, 0 to 1."""
    seeds, images = values.shape
    mean = float(values.mean())
    if min(seeds, images) < 2:
        low, high = wilson(mean, images)
        return {"share": mean, "low": low, "high": high}
    half = float(crossed(values).satterthwaite())
    return {"share": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half)}


def class_table(
    said: NDArray[np.int64], label: NDArray[np.int64], classes: Sequence[str]
) -> pd.DataFrame:
    """For each class, its images and the share that was recognised, the worst class first.

    Args:
        said: the predicted class of each image by each seed, (S, N).
        label: the true classes (N,).
        classes: their names.
    """
    rows = []
    for number, name in enumerate(classes):
        own = label == number
        if own.any():
            right = (said[:, own] == number).astype(float)
            rows.append({"class": name, "images": int(own.sum()), **share(right)})
    return pd.DataFrame(rows).sort_values("share", kind="stable", ignore_index=True)


def pair_table(
    said: NDArray[np.int64], label: NDArray[np.int64], classes: Sequence[str], most: int = WORST
) -> pd.DataFrame:
    """The most confused pairs: true, predicted, mean images per seed, share of the true class."""
    seeds, count = len(said), len(classes)
    confusion = np.zeros((count, count))
    for row in said:
        np.add.at(confusion, (label, row), 1)
    np.fill_diagonal(confusion, 0)
    rows = []
    for place in np.argsort(-confusion, axis=None, kind="stable")[:most]:
        true, other = divmod(int(place), count)
        if confusion[true, other]:
            taken = (said[:, label == true] == other).astype(float)
            row = {"true": classes[true], "said": classes[other]}
            rows.append({**row, "images": confusion[true, other] / seeds, **share(taken)})
    return pd.DataFrame(rows, columns=["true", "said", "images", "share", "low", "high"])


def rescue(logits: Sequence[NDArray[np.float32]], label: NDArray[np.int64]) -> dict[str, float]:
    """Second guesses: accuracy with one and with two guesses, the share of errors whose true class
    is second (with its interval), and the shares of errors with a small margin and with high
    confidence.
    """
    judged = [guesses(one, label) for one in logits]
    place = np.array([one.place for one in judged])
    confidence = np.array([one.confidence for one in judged])
    margin = np.array([one.margin for one in judged])
    wrong = place > 1
    mistakes = int(wrong.sum())
    second = float((place[wrong] == 2).mean()) if mistakes else float("nan")
    each = max(1, round(mistakes / len(place)))  # seeds share their errors: count those of one seed
    low, high = wilson(second, each) if mistakes else (float("nan"), float("nan"))
    return {
        "accuracy": float((place == 1).mean()),
        "with_second": float((place <= 2).mean()),
        "mistakes": mistakes / len(place),
        "truth_second": second,
        "truth_second_low": low,
        "truth_second_high": high,
        "hesitated": float((margin[wrong] < HESITANT).mean()) if mistakes else float("nan"),
        "sure_and_wrong": float((confidence[wrong] > SURE).mean()) if mistakes else float("nan"),
    }


def error_tables(runs_dir: Path, sweep: str) -> dict[str, pd.DataFrame]:
    """The tables `classes`, `pairs` and `guesses` of a sweep, with a block of rows for each cell.

    Raises UserError if no run is finished or none has usable predictions.
    """
    names = named_runs(runs_dir, sweep)
    found: dict[str, list[pd.DataFrame]] = {"classes": [], "pairs": [], "guesses": []}
    for (split, cell), own in names.groupby(["split", "cell"], sort=False):
        try:
            saved = [predictions(runs_dir, key) for key in own["key"]]
        except UserError:
            continue
        if len({one["image"].tobytes() for one in saved}) > 1:
            continue
        for name, table in _of_cell(saved).items():
            table.insert(0, "split", split)
            table.insert(1, "cell", cell)
            found[name].append(table)
    if not found["guesses"]:
        raise UserError(f"no run of {sweep} has saved predictions; run the sweep again")
    return {name: pd.concat(tables, ignore_index=True) for name, tables in found.items()}


def _of_cell(saved: list[dict[str, NDArray[Any]]]) -> dict[str, pd.DataFrame]:
    label = saved[0]["label"]
    logits = [one["logits"] for one in saved]
    classes = [str(name) for name in saved[0]["classes"]]
    said = np.array([one.argmax(1) for one in logits])
    return {
        "classes": class_table(said, label, classes).head(WORST),
        "pairs": pair_table(said, label, classes),
        "guesses": pd.DataFrame([rescue(logits, label)]),
    }

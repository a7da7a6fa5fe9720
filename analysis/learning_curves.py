"""Accuracy against labels per class: measured points, a fitted curve, and random draws of both.

The curve is an inverse power law, a - b n^-c (Figueroa et al. 2012, 10.1186/1472-6947-12-8). Its
interval comes from joint draws of all points, over seeds crossed with test images. The seeds' part
is a multivariate t with few degrees of freedom, the images' part is normal, and the residual is
counted once. Letters: C cells (a method at a number of labels), S seeds, N test images, D draws.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frame import ASKED, asked_runs, predictions, short
from birds.core.randomness import stream
from birds.core.record import load_records
from birds.core.spec import UserError

Floats = NDArray[np.float64]
DRAWS = 1000
POWERS = np.geomspace(0.1, 3, 60)  # tried values of c
LEAST_COUNTS = 3  # minimum of points for a curve with three parameters
FARTHEST = 4.0  # times the measured labels; the curve is not used beyond
LABELS = "data.labels_per_class"


class Curve(NamedTuple):
    """a - b n^-c, arrays of equal shape: one curve, or one for each draw."""

    a: Floats
    b: Floats
    c: Floats

    def at(self, labels: Floats | float) -> Floats:
        """The accuracy with this number of labels per class; one column for each number of an
        array.
        """
        n = np.asarray(labels, float)
        if n.ndim:
            return self.a[..., None] - self.b[..., None] * n ** -self.c[..., None]
        return self.a - self.b * n**-self.c

    def labels_for(self, accuracy: Floats | float) -> Floats:
        """The labels per class that reach an accuracy; infinity if the curve never does."""
        room = self.a - accuracy
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = (self.b / room) ** (1 / self.c)
        reached: Floats = np.where(room > 0, found, np.inf)
        return reached


@dataclasses.dataclass(frozen=True)
class Points:
    """The results of one method: labels per class (K,) ascending, mean accuracy (K,), draws of it
    (D, K), and half the width of its 95 % interval (K,).
    """

    method: str
    counts: Floats
    mean: Floats
    draws: Floats
    half_width: Floats

    def fit(self, upto: float = np.inf) -> tuple[Curve, Curve]:
        """The curve of the means and the curves of the draws, fitted on counts up to `upto`.

        Raises UserError for fewer than three counts.
        """
        used = self.counts <= upto
        if used.sum() < LEAST_COUNTS:
            raise UserError(
                f"{self.method} was measured with {int(used.sum())} numbers of labels; a curve "
                f"needs {LEAST_COUNTS} or more, as in {LABELS}=1,2,5,10"
            )
        spread = np.maximum(self.draws[:, used].std(0), 1e-3)
        weight = 1 / spread**2
        both = np.vstack([self.mean[used], self.draws[:, used]])
        fitted = fit_power_law(self.counts[used], both, weight)
        first = Curve(*(values[:1] for values in fitted))
        return first, Curve(*(values[1:] for values in fitted))


@dataclasses.dataclass(frozen=True)
class LabelSweep:
    """The measurements of a sweep over labels. missing: titles of the missing runs."""

    points: list[Points]
    seeds: tuple[int, ...]
    images: int
    classes: int
    missing: list[str]

    @property
    def limit(self) -> float:
        """The largest number of labels per class for which the curve is used."""
        return FARTHEST * max(float(own.counts.max()) for own in self.points)


def fit_power_law(counts: Floats, accuracy: Floats, weight: Floats) -> Curve:
    """The weighted least squares fit of a - b n^-c with a <= 1 and b >= 0 to each row.

    Args:
        counts: labels per class, (K,).
        accuracy: fractions, (D, K).
        weight: the weight of each point, (K,).
    """
    best = np.full(len(accuracy), np.inf)
    found = np.zeros((3, len(accuracy)))
    for c in POWERS:
        a, b = _linear_fit(counts**-c, accuracy, weight)
        error = (weight * (accuracy - a[:, None] + b[:, None] * counts**-c) ** 2).sum(1)
        better = error < best
        best[better] = error[better]
        found[:, better] = np.stack([a, b, np.full(len(a), c)])[:, better]
    return Curve(*found)


def _linear_fit(x: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """a and b of a - b x for each row of y, within a <= 1 and b >= 0."""
    share = weight / weight.sum()
    mean_x, mean_y = share @ x, y @ share
    spread = share @ (x - mean_x) ** 2
    b = np.maximum(-((y - mean_y[:, None]) * share) @ (x - mean_x) / spread, 0)
    a = mean_y + b * mean_x
    over = a > 1
    through_one = np.maximum(((1 - y) * share) @ x / (share @ x**2), 0)
    return np.where(over, 1.0, a), np.where(over, through_one, b)


def label_sweep(runs_dir: Path, sweep: str) -> LabelSweep:
    """The points of every method of a sweep, over the seeds that are finished in all cells.

    Raises UserError if the sweep did not vary the labels, or if no seed is complete.
    """
    asked = asked_runs(runs_dir, sweep)
    records = load_records(runs_dir, list(asked["key"].unique()))
    if records.empty:
        raise UserError(f"the sweep {sweep!r} has no finished run yet; see birds status {sweep}")
    by_key = {str(row["key"]): row for row in records.to_dict("records")}
    cells: dict[tuple[str, float], dict[int, pd.Series]] = {}
    lacking: list[str] = []
    for row in asked.to_dict("records"):
        method = _method(row, asked)
        right = _right(runs_dir, row["key"]) if row["key"] in by_key else None
        if right is None:
            lacking.append(f"{method} {row['spec'].title}")
            continue
        record = by_key[row["key"]]
        count = round(record["images_labelled"] / len(record["classes"]), 1)
        cells.setdefault((method, count), {})[row["seed"]] = right
    _refuse_one_count(cells, sweep)
    classes = len(next(iter(by_key.values()))["classes"])
    return _crossed_cells(cells, lacking, classes, sweep)


def _method(row: dict[str, object], asked: pd.DataFrame) -> str:
    """A variant and its other swept choices, except labels, split and seed."""
    further = [name for name in asked.columns if name not in ASKED and name != LABELS]
    words = [f"{short(name)}={row[name]}" for name in further if row[name]]
    return " ".join([str(row["variant"]), *words])


def _right(runs_dir: Path, key: str) -> pd.Series | None:
    saved = predictions(runs_dir, key, "test_image", "test_logits", "test_label")
    if saved is None:
        return None
    return pd.Series((saved[1].argmax(1) == saved[2]).astype(float), index=saved[0])


def _refuse_one_count(cells: dict[tuple[str, float], dict[int, pd.Series]], sweep: str) -> None:
    counts = {count for _, count in cells}
    if len(counts) < 2:
        raise UserError(
            f"the sweep {sweep!r} has only one number of labels per class; vary it: "
            f"python train.py -m sweeps=labels"
        )


def _crossed_cells(
    cells: dict[tuple[str, float], dict[int, pd.Series]],
    lacking: list[str],
    classes: int,
    sweep: str,
) -> LabelSweep:
    seeds = sorted(set.intersection(*(set(own) for own in cells.values())))
    if not seeds:
        raise UserError(f"no seed of {sweep!r} is finished for every number of labels")
    places = sorted(cells)
    columns = []
    for place in places:
        columns += [cells[place][seed] for seed in seeds]
    frame = pd.concat(columns, axis=1, join="inner")
    right = frame.to_numpy().T.reshape(len(places), len(seeds), len(frame))
    draws = joint_draws(right)
    points = []
    for method in dict.fromkeys(name for name, _ in cells):
        own = [k for k, (name, _) in enumerate(places) if name == method]
        counts = np.array([places[k][1] for k in own])
        half = [_half_width(right[k]) for k in own]
        mean = right[own].mean((1, 2))
        points.append(Points(method, counts, mean, draws[:, own], np.array(half)))
    return LabelSweep(points, tuple(seeds), len(frame), classes, lacking)


def _half_width(right: Floats) -> float:
    """Half the 95 % interval of one cell (S, N); with one seed, over images alone."""
    from analysis.statistics import crossed

    if len(right) > 1:
        return float(crossed(right).satterthwaite())
    return float(1.96 * right.std(ddof=1) / np.sqrt(right.shape[1]))


def joint_draws(right: Floats, draws: int = DRAWS) -> Floats:
    """Draws (D, C) of the mean accuracies of cells on equal seeds and images.

    Args:
        right: correct or not, (C, S, N).
    """
    random = stream(0, "learning curves")
    _, seeds, images = right.shape
    mean = right.mean((1, 2))
    image = right.mean(1) - mean[:, None]
    normal = random.standard_normal((draws, images))
    by_image = normal @ image.T / np.sqrt(images * (images - 1))
    if seeds == 1:
        return np.asarray(mean + by_image)
    seed = right.mean(2) - mean[:, None]
    normal = random.standard_normal((draws, seeds))
    heavy = np.sqrt((seeds - 1) / random.chisquare(seeds - 1, draws))
    by_seed = normal @ seed.T / np.sqrt(seeds * (seeds - 1)) * heavy[:, None]
    left = right - mean[:, None, None] - seed[:, :, None] - image[:, None, :]
    variance_left = (left**2).sum((1, 2)) / ((seeds - 1) * (images - 1) * seeds * images)
    variance_image = np.maximum((image**2).sum(1) / (images * (images - 1)), 1e-12)
    kept = np.sqrt(np.maximum(1 - variance_left / variance_image, 0))
    return np.asarray(mean + by_seed + by_image * kept)


def interval(draws: Floats) -> tuple[float, float]:
    """The middle 95 % of draws; infinity counts as the largest."""
    ordered = np.sort(draws)
    low = ordered[int(0.025 * len(ordered))]
    return float(low), float(ordered[min(int(0.975 * len(ordered)), len(ordered) - 1)])

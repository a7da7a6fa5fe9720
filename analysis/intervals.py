"""How sure a number is: intervals over test photos for one run, over seeds for several."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 2000


def macro_f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Macro F1 of confusion matrices (..., S, S) with true species in rows; species without photos
    are left out.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    shown, said = confusion.sum(-1), confusion.sum(-2)
    total = shown + said
    f1 = np.divide(2 * hits, total, out=np.zeros(hits.shape), where=total > 0)
    mean: NDArray[np.float64] = f1.sum(-1) / np.maximum((total > 0).sum(-1), 1)
    return mean


def macro_f1_by_photo(
    label: NDArray[np.int64], predicted: NDArray[np.int64], species: int
) -> NDArray[np.float64]:
    """Macro F1 as a mean over photos: jackknife pseudovalues (Tukey 1958, 10.1214/aoms/1177706647),
    (N,).

    Args: as in `photo_bootstrap`.
    """
    right, photos = label == predicted, len(label)
    hits = np.bincount(label[right], minlength=species)
    total = np.bincount(label, minlength=species) + np.bincount(predicted, minlength=species)

    def without(
        who: NDArray[np.int64], hit: Any, times: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """How a species' F1 changes, and whether it disappears, when a photo is left out."""
        left = total[who] - times
        return 2 * (hits[who] - hit) / np.maximum(left, 1) - 2 * hits[who] / total[who], left == 0

    (own, own_gone), (other, other_gone) = (
        without(label, right, 1 + right),
        without(predicted, 0, 1),
    )
    whole, shown = (2 * hits / np.maximum(total, 1)).sum(), (total > 0).sum()
    rest = (whole + own + np.where(right, 0, other)) / (shown - own_gone - (other_gone & ~right))
    pseudo: NDArray[np.float64] = photos * whole / shown - (photos - 1) * rest
    return pseudo


def photo_bootstrap(
    label: NDArray[np.int64], predicted: NDArray[np.int64], species: int
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of accuracy and macro F1 over resampled photos (Efron 1979,
    10.1214/aos/1176344552).

    Args:
        label: true species, (N,).
        predicted: predicted species, (N,).
        species: how many species there are.
    """
    random = np.random.default_rng(0)
    cell = label * species + predicted
    drawn = cell[random.integers(0, len(cell), (RESAMPLES, len(cell)))]
    offset = np.arange(RESAMPLES)[:, None] * species**2
    counts = np.bincount((drawn + offset).ravel(), minlength=RESAMPLES * species**2)
    confusion = counts.reshape(RESAMPLES, species, species)
    accuracy = np.trace(confusion, axis1=1, axis2=2) / len(cell)
    return {"accuracy": _middle(accuracy), "macro_f1": _middle(macro_f1(confusion))}


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def seed_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean over seeds. Raises ValueError with fewer than two."""
    from scipy import stats

    if len(values) < 2:
        raise ValueError("an interval over seeds needs two or more")
    mean, error = float(np.mean(values)), float(stats.sem(values))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return mean - half, mean + half


def as_proportions(low: float, high: float) -> tuple[float, float]:
    """The ends of an interval, cut to what a proportion can be; nan stays nan."""
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))

"""Confidence intervals: over test images for one run, over seeds for several runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birds.core import proportions

LEVEL = 0.95
RESAMPLES = 2000


def macro_f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Macro F1 of confusion matrices (..., S, S) with true classes in rows; classes without images
    are left out.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _mean_f1(hits, confusion.sum(-1) + confusion.sum(-2))


def _mean_f1(hits: NDArray[np.int64], total: NDArray[np.int64]) -> NDArray[np.float64]:
    """Macro F1 of the right images of each class (..., S) and of the images that are of it plus
    those that were said to be.
    """
    f1 = np.divide(2 * hits, total, out=np.zeros(hits.shape), where=total > 0)
    mean: NDArray[np.float64] = f1.sum(-1) / np.maximum((total > 0).sum(-1), 1)
    return mean


def macro_f1_by_image(
    label: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Macro F1 as a mean over images: jackknife pseudovalues (Tukey 1958, 10.1214/aoms/1177706647),
    (N,).

    Args: as in `image_bootstrap`.
    """
    right, images = label == predicted, len(label)
    hits = np.bincount(label[right], minlength=classes)
    total = np.bincount(label, minlength=classes) + np.bincount(predicted, minlength=classes)

    def without(
        who: NDArray[np.int64], hit: Any, times: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """How a class's F1 changes, and whether it disappears, when an image is left out."""
        left = total[who] - times
        return 2 * (hits[who] - hit) / np.maximum(left, 1) - 2 * hits[who] / total[who], left == 0

    (own, own_gone), (other, other_gone) = (
        without(label, right, 1 + right),
        without(predicted, 0, 1),
    )
    whole, shown = (2 * hits / np.maximum(total, 1)).sum(), (total > 0).sum()
    rest = (whole + own + np.where(right, 0, other)) / (shown - own_gone - (other_gone & ~right))
    pseudo: NDArray[np.float64] = images * whole / shown - (images - 1) * rest
    return pseudo


def balanced_by_image(
    label: NDArray[np.int64], predicted: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Balanced accuracy as a mean over images, (N,): a right image counts by the inverse of its
    class's number of images. Args: as in `image_bootstrap`.
    """
    counted: NDArray[np.float64] = (label == predicted) * balancing_weights(label)
    return counted


def balancing_weights(label: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much each image (N,) counts, so that classes count equally and the mean is 1."""
    count = np.bincount(label)
    weights: NDArray[np.float64] = len(label) / ((count > 0).sum() * count[label])
    return weights


def balanced_accuracy(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean recall of confusion matrices (..., S, S) with true classes in rows; classes without
    images are left out.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _mean_recall(hits, confusion.sum(-1))


def _mean_recall(hits: NDArray[np.int64], shown: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean recall of the right images of each class (..., S) and of all of them."""
    recall = np.divide(hits, shown, out=np.zeros(hits.shape), where=shown > 0)
    mean: NDArray[np.float64] = recall.sum(-1) / np.maximum((shown > 0).sum(-1), 1)
    return mean


def image_bootstrap(
    label: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of accuracy, macro F1 and balanced accuracy over resampled images
    (Efron 1979, 10.1214/aos/1176344552).

    Args:
        label: true classes, (N,).
        predicted: predicted classes, (N,).
        classes: how many classes there are.
    """
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(label), (RESAMPLES, len(label)))
    offset = np.arange(RESAMPLES)[:, None] * classes
    true, guess = label[drawn] + offset, predicted[drawn] + offset
    size = RESAMPLES * classes  # counts by class: whole confusion matrices would fill the memory
    hits, shown, said = (
        np.bincount(places.ravel(), minlength=size).reshape(RESAMPLES, classes)
        for places in (true[true == guess], true, guess)
    )
    return {
        "accuracy": _middle(hits.sum(1) / len(label)),
        "macro_f1": _middle(_mean_f1(hits, shown + said)),
        "balanced_accuracy": _middle(_mean_recall(hits, shown)),
    }


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def seed_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean over seeds. Raises ValueError with fewer than two."""
    from scipy.special import stdtrit  # Student's t; scipy.stats takes long to import

    if len(values) < 2:
        raise ValueError("an interval over seeds needs two or more")
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * error
    return mean - half, mean + half


def as_proportions(low: float, high: float) -> tuple[float, float]:
    """The ends of an interval, cut to what a proportion can be; nan stays nan."""
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` images."""
    return proportions.wilson(round(share * count), count)

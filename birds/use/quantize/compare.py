"""Compares a quantized model (the twin) with its original on the same images.

The comparison is paired: only those images count that one model classifies correctly and the other
does not. All functions work on arrays. Letters: N images, S classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution
MOST_LOST = 0.01  # largest loss of accuracy that is allowed, as a fraction
DOUBT = 0.1  # largest p value at which a loss counts as shown


def mcnemar(lost: int, won: int, alternative: str = "two-sided") -> float:
    """The p value of McNemar's exact test (1947, 10.1007/BF02295996).

    It is the probability that chance alone makes the two numbers differ at least this much.

    Args:
        lost: images that only the original gets right.
        won: images that only the twin gets right.
        alternative: `two-sided`, or `greater` to test only whether the original is better.
    """
    if lost + won == 0:
        return 1.0
    return float(binomtest(lost, lost + won, 0.5, alternative).pvalue)


def paired(
    was: NDArray[np.int64], now: NDArray[np.int64], label: NDArray[np.int64]
) -> tuple[int, int]:
    """The numbers of images that only the original gets right and that only the twin gets right.

    `was` and `now` are the predicted classes (N,) of the original and the twin; `label` is true.
    """
    lost = (was == label) & (now != label)
    won = (was != label) & (now == label)
    return int(lost.sum()), int(won.sum())


def falls(lost: int, won: int, images: int, *, known: bool = False) -> bool:
    """Whether the twin's accuracy is lower by more than MOST_LOST, and this is unlikely to be
    chance.

    The loss on these images must exceed MOST_LOST, and the p value of the exact one-sided test must
    be below DOUBT. With 100 images, two lost images are no evidence, and four lost and none won
    are. A twin that loses nothing is reported in at most one of ten cases, in practice in one of 20
    to 400 (if 2 to 8 % of the images change either way). A twin that loses 10 points is reported in
    95 of 100 cases (if a further 2 % of the images change).

    Args:
        lost: images that only the original gets right.
        won: images that only the twin gets right.
        images: how many images there are.
        known: whether a loss was shown before; then exceeding MOST_LOST is enough.
    """
    return lost - won > MOST_LOST * images + 1e-9 and (
        known or mcnemar(lost, won, "greater") < DOUBT
    )


def paired_interval(only_first: int, only_second: int, images: int) -> tuple[float, float]:
    """The 95 % interval of accuracy(second) - accuracy(first), as fractions.

    It is Wald's interval with half an image added to each cell of the 2x2 table, which also covers
    well for small samples (Agresti and Min 2005, Statistics in Medicine 24:729).
    """
    total = images + 2
    lost = only_first + 0.5
    won = only_second + 0.5
    difference = (won - lost) / total
    spread = Z95 * math.sqrt(lost + won - (won - lost) ** 2 / total) / total
    return difference - spread, difference + spread


def compared(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    label: NDArray[np.int64],
    ids: Sequence[str],
    classes: Sequence[str],
) -> dict[str, Any]:
    """The second model compared with the first on the same images.

    Args:
        first: logits (N, S) of the original.
        second: logits (N, S) of the twin.
        label: the true classes, (N,).
        ids: the names of the N images.
        classes: the names of the S classes.

    Returns agreement (the fraction of images with the same predicted class), accuracy_difference
    (second minus first) with low and high, only_first_right and only_second_right (images),
    mcnemar_p, and `flips`.
    """
    was, now = first.argmax(1), second.argmax(1)
    lost, won = paired(was, now, label)
    low, high = paired_interval(lost, won, len(label))
    return {
        "images": len(label),
        "agreement": float((was == now).mean()),
        "accuracy_difference": (won - lost) / len(label),
        "accuracy_difference_low": low,
        "accuracy_difference_high": high,
        "only_first_right": lost,
        "only_second_right": won,
        "mcnemar_p": mcnemar(lost, won),
        "flips": flips(was, now, label, ids, classes),
    }


def flips(
    was: NDArray[np.int64],
    now: NDArray[np.int64],
    label: NDArray[np.int64],
    ids: Sequence[str],
    classes: Sequence[str],
) -> list[dict[str, str]]:
    """Each image with different predicted classes: its id, its true class, and both predictions."""
    found = []
    for k in np.flatnonzero(was != now).tolist():
        names = {"class": classes[label[k]], "first": classes[was[k]], "second": classes[now[k]]}
        found.append({"image": ids[k], **names})
    return found

"""A twin against its original on the same photos: do they agree, who is right where they do not, is
that chance?

Both saw the same photos, so the comparison is paired: only photos that one gets right and the other
wrong count. Functions of arrays alone. Letters: N photos, S species.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import mcnemar

Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution
MOST_LOST = 0.01  # accuracy that a twin may lose
DOUBT = 0.1  # how likely a fall may be chance and still count as shown


def paired(
    was: NDArray[np.int64], now: NDArray[np.int64], label: NDArray[np.int64]
) -> tuple[int, int]:
    """How many photos only the original gets right, and how many only the twin: species named (N,),
    and true (N,).
    """
    return int(((was == label) & (now != label)).sum()), int(
        ((was != label) & (now == label)).sum()
    )


def falls(lost: int, won: int, photos: int, *, known: bool = False) -> bool:
    """Whether accuracy falls by more than MOST_LOST, and the photos show that this is no chance.

    The fall over these photos must exceed MOST_LOST, and the exact one-sided test must leave less
    than DOUBT for a twin as good as its original. With 100 photos two lost are no evidence, four
    lost and none won are. A twin that loses nothing is caught once in ten at most, in truth once in
    20 to 400 (2 to 8 % of the photos changing either way); one that loses 10 points in 95 of 100
    (with 2 % changing besides).

    Args:
        lost: photos that only the original gets right.
        won: photos that only the twin gets right.
        photos: how many there are.
        known: that accuracy falls was shown before; then exceeding MOST_LOST is enough.
    """
    return lost - won > MOST_LOST * photos + 1e-9 and (
        known or mcnemar(lost, won, "greater") < DOUBT
    )


def paired_interval(only_first: int, only_second: int, photos: int) -> tuple[float, float]:
    """The 95 % interval of accuracy(second) - accuracy(first), fractions, from the discordant
    photos.

    Wald's with half a photo added to each cell of the 2x2 table, which covers well for small
    samples too (Agresti and Min 2005, Statistics in Medicine 24:729).
    """
    total, lost, won = photos + 2, only_first + 0.5, only_second + 0.5
    difference = (won - lost) / total
    spread = Z95 * math.sqrt(lost + won - (won - lost) ** 2 / total) / total
    return difference - spread, difference + spread


def compared(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    label: NDArray[np.int64],
    paths: Sequence[str],
    species: Sequence[str],
) -> dict[str, Any]:
    """The second model against the first over the same photos.

    Args:
        first: logits (N, S) of the original.
        second: logits (N, S) of the twin.
        label: the true species, (N,).
        paths: the photos' paths, N of them.
        species: the species' names, S of them.

    Returns agreement (fraction of photos with the same likeliest species), accuracy_difference
    (second minus first) with low and high, only_first_right and only_second_right (photos),
    mcnemar_p, and flips: each photo on which the two name different species, with its path, the
    true species and both names.
    """
    was, now = first.argmax(1), second.argmax(1)
    lost, won = paired(was, now, label)
    low, high = paired_interval(lost, won, len(label))
    flips = [
        {
            "photo": paths[k],
            "species": species[label[k]],
            "first": species[was[k]],
            "second": species[now[k]],
        }
        for k in np.flatnonzero(was != now).tolist()
    ]
    return {
        "photos": len(label),
        "agreement": float((was == now).mean()),
        "accuracy_difference": (won - lost) / len(label),
        "accuracy_difference_low": low,
        "accuracy_difference_high": high,
        "only_first_right": lost,
        "only_second_right": won,
        "mcnemar_p": mcnemar(lost, won),
        "flips": flips,
    }

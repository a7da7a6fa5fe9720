"""The interval of a proportion.

The formula is written out because importing scipy.stats for it takes longer than a result table.
"""

import math
from typing import NamedTuple

Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution


class Interval(NamedTuple):
    """The ends of an interval, as fractions."""

    low: float
    high: float


def wilson(right: int, images: int) -> Interval:
    """Wilson's 95 % interval of a proportion (1927, 10.1080/01621459.1927.10502953).

    Args:
        right: how many images count, 0 to `images`.
        images: how many there are, at least 1.
    """
    if not 0 <= right <= images or images < 1:
        raise ValueError(f"{right} of {images} is no proportion")
    share, shrink = right / images, 1 + Z**2 / images
    centre = (share + Z**2 / (2 * images)) / shrink
    half = Z * math.sqrt(share * (1 - share) / images + Z**2 / (4 * images**2)) / shrink
    low = 0.0 if right == 0 else centre - half
    high = 1.0 if right == images else centre + half
    return Interval(low, high)

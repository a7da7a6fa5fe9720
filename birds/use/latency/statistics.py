"""Compares the times of two models from the same rounds: pure functions of arrays.

The unit is the round. In each round every model is visited once, in random order, and the time of
its fastest call is kept. Two models are compared by the ratio of these times within a round, so
everything that slows down both (clock, heat, other processes) cancels. The median over rounds
ignores rounds in which only one of them was slowed down.

The interval is the percentile bootstrap of that median over rounds (Efron 1979,
10.1214/aos/1176344552). It needs no random draws: its ends are two of the observed ratios, the k-th
from below and the k-th from above. Whether it covers a ratio of 1 depends only on how many rounds
fall on either side of 1. For a model timed against itself in random order, each side has a chance
of one half, for any distribution of the noise and any drift. So its coverage is known exactly
(`coverage`), and k is chosen by it: at least 98 % for any number of rounds from 7 on, and 98.3 %
with 101 rounds, which means 95 or more of 100 races in 99 of 100 cases. (The ends of a bootstrap at
a nominal 98 % are these or their neighbours; at 95 % it would cover too rarely.) Wilcoxon's signed
ranks are also exact, but on a busy machine their intervals were wider by a quarter; Student's t
intervals are three times as wide then, and guarantee nothing.

Letters: R rounds.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.98  # least coverage of the interval
MINIMUM_ROUNDS = 31
RESOLUTION = 0.05  # if equal models may differ by more, the machine is called noisy


@dataclasses.dataclass(frozen=True)
class Interval:
    """A ratio of times with its interval; below 1 the first model is faster."""

    ratio: float
    low: float
    high: float

    def covers(self, ratio: float) -> bool:
        """Whether `ratio` lies inside."""
        return self.low <= ratio <= self.high


def summary(nanoseconds: NDArray[np.int64], batch: int) -> dict[str, float]:
    """The columns median_ms, p95_ms, p99_ms, images_per_second and calls, over all calls of one
    model.

    Args:
        nanoseconds: time of each call, in any shape.
        batch: images per call.
    """
    ms = np.asarray(nanoseconds, dtype=np.float64).ravel() / 1e6
    quantiles = dict(
        zip(
            ("median_ms", "p95_ms", "p99_ms"),
            np.quantile(ms, [0.5, 0.95, 0.99]).tolist(),
            strict=True,
        )
    )
    return quantiles | {
        "images_per_second": float(1000 * batch * len(ms) / ms.sum()),
        "calls": len(ms),
    }


def ratio_interval(first: NDArray[Any], second: NDArray[Any]) -> Interval:
    """How many times as long the first model takes: the median over rounds of first / second.

    The interval is its bootstrap interval.

    Args:
        first: the first model's time in each round, (R,), positive, in any unit.
        second: the second model's in the same rounds and unit, (R,).

    Raises:
        ValueError: other shapes, no rounds, or times that are not positive.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(
            "times of two models in the same rounds are needed, not "
            f"{first.shape} and {second.shape}"
        )
    if not (
        np.isfinite(first).all()
        and np.isfinite(second).all()
        and min(first.min(), second.min()) > 0
    ):
        raise ValueError("times must be positive")
    ratio, k = np.sort(first / second), rank(len(first))
    return Interval(float(np.exp(np.median(np.log(ratio)))), float(ratio[k - 1]), float(ratio[-k]))


def rank(rounds: int) -> int:
    """The k, at least 1, for which the k-th smallest and k-th largest ratios are the interval's
    ends.
    """
    return max(1, int(stats.binom.ppf((1 - LEVEL) / 2, rounds, 0.5)))


def coverage(rounds: int) -> float:
    """The probability that the interval covers 1 for a model timed against itself.

    Each round's ratio is then equally likely to be above or below 1.
    """
    return float(1 - 2 * stats.binom.cdf(rank(rounds) - 1, rounds, 0.5))


@dataclasses.dataclass(frozen=True)
class SameAgainstSame:
    """The result of timing a model against itself, under two names: how precise the machine is.

    `resolution` is the smallest difference, as a fraction, that cannot come from two equal models.
    """

    interval: Interval

    @property
    def fair(self) -> bool:
        """Whether the interval covers 1. If not, the race favours one name and its results are not
        valid.
        """
        return self.interval.covers(1.0)

    @property
    def resolution(self) -> float:
        """The largest distance of the interval's ends from 1, as a fraction."""
        return max(1 - self.interval.low, self.interval.high - 1)

    @property
    def noisy(self) -> bool:
        """Whether the machine is too noisy to rank two models that differ by 5 % or less, or is not
        fair.
        """
        return not self.fair or self.resolution > RESOLUTION

    @property
    def verdict(self) -> str:
        """A sentence on whether the race is fair and how precise the machine is."""
        interval = self.interval
        shown = (
            f"a model against itself: {interval.ratio:.3f} "
            f"[{interval.low:.3f}, {interval.high:.3f}]"
        )
        if not self.fair:
            return (
                f"{shown} does not cover 1: this machine is too noisy to rank any two models; "
                "measure again"
            )
        if self.noisy:
            return (
                f"{shown}: this machine is too noisy to rank models that differ by less than "
                f"{self.resolution:.1%}"
            )
        return f"{shown}: differences above {self.resolution:.1%} can be told"


def told_apart(ratio: Interval, same: SameAgainstSame) -> str:
    """Whether this machine shows the first model of `ratio` to be `faster` or `slower`.

    Otherwise the answer is `cannot be told`. The interval must exclude 1, and the ratio must lie
    outside the interval of a model against itself.
    """
    if not same.fair or ratio.covers(1.0) or same.interval.covers(ratio.ratio):
        return "cannot be told"
    return "faster" if ratio.ratio < 1 else "slower"

"""Compares the times of two models from the same rounds: pure functions of arrays.

The unit is the round. In each round every model is visited once, in random order, and the time of
its fastest call is kept. Two models are compared by the ratio of these times within a round, so
everything that slows down both (clock, heat, other processes) cancels. The median over rounds
ignores rounds in which only one of them was slowed down.

The interval is the percentile bootstrap of that median over rounds (Efron 1979,
10.1214/aos/1176344552), which needs no
drawing: its ends are two of the observed ratios, the k-th from below and from above. Whether it
covers a ratio of 1 depends on nothing but how many rounds fell on either side of 1. For a model
timed against itself in random order each side is a fair coin, whatever the noise looks like,
however heavy its tails, however it drifts. So its coverage is known exactly (`coverage`), and k is
chosen by it: at least 98 % for any number of rounds from 7 on, 98.3 % with 101, which is 95 or more
of 100 races in 99 of 100 cases. (The ends of a bootstrap at a nominal 98 % are these or their
neighbours; at 95 % it would cover too rarely.) Wilcoxon's signed ranks are as exact, but on a busy
machine their intervals were wider by a quarter; Student's t is three times as wide then, and
guarantees nothing.

Letters: R rounds.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.98  # of the interval, at least
MINIMUM_ROUNDS = 31
RESOLUTION = 0.05  # a machine on which equal models may differ by more than this is called noisy


@dataclasses.dataclass(frozen=True)
class Interval:
    """A ratio of times and what it may be: below 1 the first is faster."""

    ratio: float
    low: float
    high: float

    def covers(self, ratio: float) -> bool:
        """Whether `ratio` lies inside."""
        return self.low <= ratio <= self.high


def summary(nanoseconds: NDArray[np.int64], batch: int) -> dict[str, float]:
    """The columns of a row about one model's calls: median_ms, p95_ms, p99_ms, images_per_second
    over all, calls.

    Args:
        nanoseconds: time of each call, in any shape.
        batch: images a call.
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
    """How many times as long the first model takes: median over rounds of first / second, with its
    bootstrap interval.

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
    """The k for which the k-th smallest and the k-th largest ratio are the ends of the interval, 1
    or more.
    """
    return max(1, int(stats.binom.ppf((1 - LEVEL) / 2, rounds, 0.5)))


def coverage(rounds: int) -> float:
    """How likely the interval covers 1 when each round is as likely above 1 as below: a model
    against itself.
    """
    return float(1 - 2 * stats.binom.cdf(rank(rounds) - 1, rounds, 0.5))


@dataclasses.dataclass(frozen=True)
class SameAgainstSame:
    """What timing a model against itself, under two names, says of the machine.

    resolution is the smallest difference, as a fraction, that the interval does not allow for equal
    models.
    """

    interval: Interval

    @property
    def fair(self) -> bool:
        """Whether the interval covers 1: otherwise the race favours a name, and nothing it says can
        be trusted.
        """
        return self.interval.covers(1.0)

    @property
    def resolution(self) -> float:
        """How far from 1 the interval reaches, as a fraction."""
        return max(1 - self.interval.low, self.interval.high - 1)

    @property
    def noisy(self) -> bool:
        """Whether the machine is too noisy to rank two models that differ by 5 % or less, or is not
        fair at all.
        """
        return not self.fair or self.resolution > RESOLUTION

    @property
    def verdict(self) -> str:
        """The sentence for people."""
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
    """How the first model of `ratio` is against the second by this machine: `faster`, `slower` or
    `cannot be told`.

    Its interval must exclude 1 and its ratio must lie where a model against itself does not get.
    """
    if not same.fair or ratio.covers(1.0) or same.interval.covers(ratio.ratio):
        return "cannot be told"
    return "faster" if ratio.ratio < 1 else "slower"

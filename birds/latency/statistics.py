"""What can be said of two models that were timed side by side: pure functions of arrays, nothing is timed here.

The unit is the round. In each round every model is timed once or a few times, in random order, and leaves the median of
these. Two models are compared by the ratio of their medians within a round, so whatever slows both (clock, heat, a
neighbour) cancels; the median over rounds ignores the rounds in which only one of them was hit.

The interval is the percentile bootstrap of that median over rounds (Efron 1979, 10.1214/aos/1176344552), in the limit
of infinitely many draws: Efron's section 3 gives the bootstrap distribution of a median in closed form, so nothing is
drawn. Its ends are two of the observed ratios, the k-th from below and from above; whether it covers a ratio of 1
depends on nothing but how many rounds fell on either side of 1. For a model timed against itself in random order each
side is a fair coin, whatever the noise looks like, however heavy its tails, however it drifts. So its coverage is known
exactly (`coverage`). At a nominal 95 % it would be 94.0 % with 41 rounds, too little to cover in 95 of 100 repetitions;
at the nominal 99.5 % chosen here it is 98.9 % at least and 99.6 % with 41 rounds. The price is an interval 1.6 times as
wide. Student's t on log ratios is three times as wide as this under the heavy-tailed noise of
`bench/latency_validity.py`, and has no such guarantee.

Letters: R rounds.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.995
MINIMUM_ROUNDS = 31  # from here on the interval covers in at least 98.9 % of all races, whatever the noise
RESOLUTION = 0.05  # a machine on which equal models may differ by more than this is called noisy
P99_CALLS = 100  # the 99th percentile of fewer calls is little more than their maximum

Told = Literal["faster", "slower", "cannot be told"]


@dataclasses.dataclass(frozen=True)
class Interval:
    """A ratio of times and what it may be: below 1 the first is faster."""

    ratio: float
    low: float
    high: float

    def covers(self, ratio: float) -> bool:
        """Whether `ratio` lies inside."""
        return self.low <= ratio <= self.high


@dataclasses.dataclass(frozen=True)
class Summary:
    """Times of one model in ms, and photos a second over all its calls."""

    median_ms: float
    p95_ms: float
    p99_ms: float
    images_per_second: float
    calls: int


def summary(nanoseconds: NDArray[np.int64], batch: int) -> Summary:
    """What a person wants to know of the calls of one model.

    Args:
        nanoseconds: time of each call, in any shape.
        batch: photos a call.
    """
    ms = np.asarray(nanoseconds, dtype=np.float64).ravel() / 1e6
    median, p95, p99 = (float(value) for value in np.quantile(ms, [0.5, 0.95, 0.99]))
    return Summary(median, p95, p99, float(1000 * batch * len(ms) / ms.sum()), len(ms))


def ratio_interval(first: NDArray[np.float64], second: NDArray[np.float64], *, level: float = LEVEL) -> Interval:
    """How many times as long the first model takes: median over rounds of first / second, with its bootstrap interval.

    Args:
        first: the first model's time in each round, (R,), positive, in any unit.
        second: the second model's in the same rounds and unit, (R,).
        level: of the interval.

    Raises:
        ValueError: other shapes, no rounds, or times that are not positive.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(f"times of two models in the same rounds are needed, not {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all() and min(first.min(), second.min()) > 0):
        raise ValueError("times must be positive")
    ratio, k = np.sort(first / second), bootstrap_rank(len(first), level)
    middle = float(np.exp(np.median(np.log(ratio))))
    return Interval(middle, float(ratio[k - 1]), float(ratio[len(ratio) - k]))


def bootstrap_rank(rounds: int, level: float = LEVEL) -> int:
    """The k for which the k-th smallest and the k-th largest value are the ends of a median's bootstrap interval.

    The median of R values drawn with replacement is at most the k-th smallest when half of them or more are drawn from
    the k smallest; their number is binomial with R and k / R (Efron 1979, section 3).
    """
    from scipy import stats

    ranks = np.arange(1, rounds + 1)
    below = stats.binom.sf((rounds + 1) // 2 - 1, rounds, ranks / rounds)
    return int(min(ranks[np.argmax(below > (1 - level) / 2)], (rounds + 1) // 2))


def coverage(rounds: int, level: float = LEVEL) -> float:
    """How likely the interval covers 1 when each round is as likely above 1 as below: a model against itself."""
    from scipy import stats

    k = bootstrap_rank(rounds, level)
    return float(stats.binom.cdf(rounds - k, rounds, 0.5) - stats.binom.cdf(k - 1, rounds, 0.5))


@dataclasses.dataclass(frozen=True)
class SameAgainstSame:
    """What timing a model against itself, under two names, says of the machine.

    resolution is the smallest difference, as a fraction, that the interval does not allow for equal models.
    """

    interval: Interval

    @property
    def fair(self) -> bool:
        """Whether the interval covers 1: otherwise the race favours a name, and nothing it says can be trusted."""
        return self.interval.covers(1.0)

    @property
    def resolution(self) -> float:
        """How far from 1 the interval reaches, as a fraction."""
        return max(1 - self.interval.low, self.interval.high - 1)

    @property
    def noisy(self) -> bool:
        """Whether the machine is too noisy to rank two models that differ by 5 % or less, or is not fair at all."""
        return not self.fair or self.resolution > RESOLUTION

    @property
    def verdict(self) -> str:
        """The sentence for people."""
        shown = f"a model against itself: {self.interval.ratio:.3f} [{self.interval.low:.3f}, {self.interval.high:.3f}]"
        if not self.fair:
            return f"{shown} does not cover 1: this machine is too noisy to rank any two models; measure again"
        if self.noisy:
            return f"{shown}: this machine is too noisy to rank models that differ by less than {self.resolution:.1%}"
        return f"{shown}: differences above {self.resolution:.1%} can be told"


def told_apart(ratio: Interval, same: SameAgainstSame) -> Told:
    """Whether the first model of `ratio` is faster or slower than the second, as far as this machine can tell.

    Its interval must exclude 1 and its ratio must lie where a model against itself does not get.
    """
    if not same.fair or ratio.covers(1.0) or same.interval.covers(ratio.ratio):
        return "cannot be told"
    return "faster" if ratio.ratio < 1 else "slower"

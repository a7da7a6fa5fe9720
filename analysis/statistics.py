"""Inference over seeds crossed with test images: intervals and tests for means and gaps.

Every seed is tested on the same images, so `values[..., seed, image]` is a crossed design. Its mean
has three sources of variance: the seed, the image, and the residual. All functions are pure
functions of arrays. Values are fractions (0.02 is two points), and leading axes are independent
designs, so that one call can handle a thousand sweeps.

A bootstrap of seeds and images (the crossed bootstrap of Owen 2007, 10.1214/07-AOAS122) has too few
seeds to resample and counts the residual three times: its 95 % intervals cover the truth in 92 to
98 % of simulated sweeps, depending on how much seeds differ. Variance components with Student's t
stay near 95 % with three or more seeds. tests/analysis/test_paired_statistics.py simulates both.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special  # not scipy.stats, whose import takes longer than a table

Floats = NDArray[np.float64]

ALPHA = 0.05
POWER = 0.8
MARGIN = 0.02  # two points: a smaller difference does not matter in practice
MOST_SEEDS = 100  # if more would be needed, the answer is that seeds are not enough
LOOKS = (3, 5, 8, 13, 21)  # numbers of seeds at which a growing sweep may be analysed
LEAST_P = 1e-12  # smaller p values are reported as this one
BISECTIONS = 52  # of the logarithm of p, enough for the precision of a float


def student_t(tail: Any, freedom: Any) -> Any:
    """The value that Student's t with `freedom` degrees of freedom exceeds with probability
    `tail`.
    """
    return -special.stdtrit(freedom, tail)


class Crossed(NamedTuple):
    """The mean of a seeds x images design and the components of its variance, as arrays over the
    leading axes.
    """

    mean: Floats
    by_seed: Floats  # variance due to seeds, plus the residual
    by_image: Floats  # variance due to images, plus the residual
    left: Floats
    seeds: int
    images: int

    def half_width(self, alpha: float | Floats = ALPHA) -> Floats:
        """Half the width of the 1 - alpha interval: Cochran's approximate t (1964, Biometrics
        20:191).

        It weights the quantiles of each source's Student's t by the source's share of the variance.
        It is conservative, so the tests behind the verdicts use it.
        """
        image = np.maximum(self.by_image - self.left, 0)
        total = np.maximum(self.by_seed + image, np.finfo(float).tiny)
        tail = np.asarray(alpha) / 2
        seed_t, image_t = (student_t(tail, n - 1) for n in (self.seeds, self.images))
        width: Floats = (self.by_seed * seed_t + image * image_t) / np.sqrt(total)
        return width

    def satterthwaite(self, alpha: float = ALPHA) -> Floats:
        """Half the width with Satterthwaite's degrees of freedom (1946, 10.2307/3002019), at least
        that of images alone.

        It is for a single cell, where images cause most of the variance and Cochran's interval
        would be too wide.
        """
        total = np.maximum(
            self.by_seed + self.by_image - self.left, np.maximum(self.by_seed, self.by_image)
        )
        s, n = self.seeds - 1, self.images - 1
        parts = self.by_seed**2 / s + self.by_image**2 / n + self.left**2 / (s * n)
        freedom = total**2 / np.maximum(parts, np.finfo(float).tiny)
        width: Floats = student_t(alpha / 2, np.maximum(freedom, 1)) * np.sqrt(total)
        return width

    def p_value(self) -> Floats:
        """The two-sided p value for a mean of 0: the alpha whose interval ends at 0."""
        low = np.full(np.shape(self.mean), np.log(LEAST_P))
        high = np.zeros(np.shape(self.mean))
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            wider = self.half_width(np.exp(middle)) > np.abs(self.mean)
            low, high = np.where(wider, middle, low), np.where(wider, high, middle)
        least = np.abs(self.mean) >= self.half_width(LEAST_P)
        found = np.where(least, LEAST_P, np.exp(high))
        return np.where(self.mean == 0, 1.0, found)

    def with_seeds(self, seeds: Any) -> Self:
        """The expected design with another number of seeds, or with each number of an array."""
        return self._replace(
            by_seed=self.by_seed * self.seeds / seeds,
            left=self.left * self.seeds / seeds,
            seeds=seeds,
        )


def crossed(values: NDArray[np.number]) -> Crossed:
    """The analysis of variance of a crossed design (Cornfield and Tukey 1956,
    10.1214/aoms/1177728067).

    Args:
        values: the result of each seed on each image, (..., S, N) with S >= 2: 1 for correct and 0
            for wrong, or the difference of two variants.

    Raises ValueError for fewer than two seeds or images.
    """
    seeds, images = values.shape[-2:]
    if min(seeds, images) < 2:
        raise ValueError("a mean over seeds and images needs two or more of each")
    mean = values.mean((-2, -1))
    seed, image = values.mean(-1) - mean[..., None], values.mean(-2) - mean[..., None]
    whole = ((values - mean[..., None, None]) ** 2).sum((-2, -1))
    by_seed, by_image = images * (seed**2).sum(-1), seeds * (image**2).sum(-1)
    s, n = seeds - 1, images - 1
    left = (whole - by_seed - by_image) / (s * n)
    cells = seeds * images
    return Crossed(mean, by_seed / s / cells, by_image / n / cells, left / cells, seeds, images)


def sign_flip(votes: NDArray[np.int64]) -> float:
    """Two-sided sign-flip permutation test of no gap (Fisher 1935), exact.

    It counts all 2^N flips by convolving the sums of images with equal votes (Pagano and Tritchler
    1983, 10.1080/01621459.1983.10477990). An image is flipped with all its seeds, so the result is
    about the trained models on other images.

    Args:
        votes: for each image, in how many more seeds the first variant was correct, (N,).
    """
    chance = np.ones(1)
    for size, count in zip(*np.unique(np.abs(votes[votes != 0]), return_counts=True), strict=True):
        flipped = np.zeros(size * count + 1)
        flipped[::size] = _coins(int(count))
        chance = np.convolve(chance, flipped)
    sums = 2 * np.arange(len(chance)) - (len(chance) - 1)
    return float(min(chance[np.abs(sums) >= abs(votes.sum())].sum(), 1))


def mcnemar(better: int, worse: int, alternative: str = "two-sided") -> float:
    """The p value of McNemar's exact test (1947, 10.1007/BF02295996).

    Args:
        better: the number of images that only the first model classifies correctly; over seeds,
            those that more of its seeds classify correctly.
        worse: the number of images that only the second model classifies correctly.
        alternative: `two-sided`, or `greater` for the first model being better.
    """
    count = better + worse
    if alternative == "greater":
        return float(special.bdtrc(better - 1, count, 0.5)) if better else 1.0
    return min(1.0, 2 * float(special.bdtr(min(better, worse), count, 0.5)))


def _coins(count: int) -> Floats:
    """The probability of each number of heads of `count` fair coins, (count + 1,)."""
    heads = np.arange(count + 1)
    ways = special.gammaln(count + 1) - special.gammaln(heads + 1)
    found: Floats = np.exp(ways - special.gammaln(count - heads + 1) - count * np.log(2))
    return found


def holm(p: Floats) -> Floats:
    """Holm's adjusted p values of a family (1979, Scandinavian Journal of Statistics 6:65), (...,
    M); nan values are ignored.
    """
    order = np.argsort(p, axis=-1)
    count = np.isfinite(p).sum(-1, keepdims=True)
    raised = np.take_along_axis(p, order, -1) * (count - np.arange(p.shape[-1]))
    adjusted = np.empty(p.shape)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(raised, -1), 1), -1)
    return adjusted


def cohens_h(accuracy: float, against: float) -> float:
    """Effect size of two accuracies (Cohen 1988, chapter 6): about 0.2 is small, 0.5 medium, 0.8
    large.
    """
    return float(2 * (np.arcsin(np.sqrt(accuracy)) - np.arcsin(np.sqrt(against))))


def shown_from(gap: Crossed, alpha: float = ALPHA) -> Floats:
    """The smallest true gap that is shown at `alpha` with 80 % power (Bloom 1995,
    10.1177/0193841X9501900504).
    """
    return gap.half_width(alpha) + gap.half_width(2 * (1 - POWER))


def equivalent(gap: Crossed, margin: float = MARGIN) -> NDArray[np.bool_]:
    """Whether two one-sided tests at 5 % show a gap within the margin (Schuirmann 1987,
    10.1007/BF01068419).
    """
    return np.abs(gap.mean) + gap.half_width(2 * ALPHA) < margin


def more_seeds(gap: Crossed, alpha: float = ALPHA, margin: float = MARGIN) -> int | None:
    """About how many more seeds settle a comparison, if gap and variances are as observed.

    A comparison is settled when its gap is shown at `alpha`, or shown to be within the margin, each
    with 80 % power. None if the variance due to images alone is too large, or if more than a
    hundred seeds would be needed.
    """
    seeds = np.arange(gap.seeds + 1, MOST_SEEDS + 1)
    then, size = gap.with_seeds(seeds), abs(float(gap.mean))
    within = then.half_width(2 * ALPHA) + then.half_width(2 * (1 - POWER)) <= margin - size
    enough = seeds[(shown_from(then, alpha) <= size) | within]
    return int(enough[0]) - gap.seeds if len(enough) else None


def stopping_half_width(gap: Crossed) -> Floats:
    """Half the width of an interval with 95 % coverage under any stopping rule: Bonferroni over
    `LOOKS`.

    It spends an alpha of 1 % at each of five planned looks (Lan and DeMets 1983,
    10.1093/biomet/70.3.659). By the union bound it is valid under every rule that stops at a look,
    if each single interval is valid. Sequences that hold at every number of seeds are asymptotic or
    assume one source of variance; here there are two.
    """
    return gap.half_width(ALPHA / len(LOOKS))

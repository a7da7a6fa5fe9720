"""Seeds crossed with test images: what a mean or a gap over both is worth, as pure functions of
arrays.

Every seed is tested on the same images, so `values[..., seed, image]` is a crossed design and its
mean has three sources of chance: the seed, the image, and what is left. Two conventions run through
the module: values are fractions (0.02 is two points), and leading axes are independent designs, so
that a thousand sweeps are one call.

Resampling seeds and images (the crossed bootstrap of Owen 2007, 10.1214/07-AOAS122) has too few
seeds to resample and counts what is left three times: its 95 % intervals hold the truth in 92 to 98
% of simulated sweeps, as seeds differ much or little. Variance components with Student's t stay
near 95 % from three seeds on; both are simulated in tests/analysis/test_paired_statistics.py.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special  # not scipy.stats, whose import takes longer than a table

Floats = NDArray[np.float64]

ALPHA = 0.05
POWER = 0.8
MARGIN = 0.02  # two points: a smaller difference is none in practice
MOST_SEEDS = 100  # more than anybody would run: the answer is then that seeds do not settle it
LOOKS = (3, 5, 8, 13, 21)  # numbers of seeds at which a sweep that grows may be looked at
LEAST_P = 1e-12  # smaller ones are not told apart
BISECTIONS = 52  # of the logarithm of p: to the precision of a float


def student_t(tail: Any, freedom: Any) -> Any:
    """What Student's t of so many degrees of freedom exceeds with a probability of `tail`."""
    return -special.stdtrit(freedom, tail)


class Crossed(NamedTuple):
    """The mean of a seeds x images design and the parts of its variance, arrays of the design's
    leading axes.
    """

    mean: Floats
    by_seed: Floats  # of seeds, with what is left
    by_image: Floats  # of images, with what is left
    left: Floats
    seeds: int
    images: int

    def half_width(self, alpha: float | Floats = ALPHA) -> Floats:
        """Half the width of the 1 - alpha interval: Cochran's approximate t (1964, Biometrics
        20:191).

        The quantiles of each source's own Student's t, weighted by its share of the variance. It
        never promises more than it holds, so the tests that lead to a verdict stand on it.
        """
        image = np.maximum(self.by_image - self.left, 0)
        total = np.maximum(self.by_seed + image, np.finfo(float).tiny)
        tail = np.asarray(alpha) / 2
        seed_t, image_t = (student_t(tail, n - 1) for n in (self.seeds, self.images))
        width: Floats = (self.by_seed * seed_t + image * image_t) / np.sqrt(total)
        return width

    def satterthwaite(self, alpha: float = ALPHA) -> Floats:
        """The same by Satterthwaite's degrees of freedom (1946, 10.2307/3002019), at least as wide
        as images alone ask.

        For one cell, where images are most of the variance and Cochran's interval would be too
        wide.
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
        """The two-sided p of a mean of 0: the alpha whose interval ends there."""
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
        """What to expect of this design with another number of seeds, or with each of an array of
        numbers.
        """
        return self._replace(
            by_seed=self.by_seed * self.seeds / seeds,
            left=self.left * self.seeds / seeds,
            seeds=seeds,
        )


def crossed(values: NDArray[np.number]) -> Crossed:
    """The analysis of variance of a crossed design (Cornfield and Tukey 1956,
    10.1214/aoms/1177728067).

    Args:
        values: what each seed (two or more) says of each image, (..., S, N): right or wrong as 1 or
            0, or the difference of two variants.

    Raises ValueError with fewer than two seeds or images.
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

    All 2^N flips are counted by convolving what images with equal votes can add up to (Pagano and
    Tritchler 1983, 10.1080/01621459.1983.10477990). Images are flipped, each with all its seeds, so
    it speaks of the very models that were trained, on other images.

    Args:
        votes: for how many more seeds the one variant was right about each image, (N,).
    """
    chance = np.ones(1)
    for size, count in zip(*np.unique(np.abs(votes[votes != 0]), return_counts=True), strict=True):
        flipped = np.zeros(size * count + 1)
        flipped[::size] = _coins(int(count))
        chance = np.convolve(chance, flipped)
    sums = 2 * np.arange(len(chance)) - (len(chance) - 1)
    return float(min(chance[np.abs(sums) >= abs(votes.sum())].sum(), 1))


def mcnemar(better: int, worse: int, alternative: str = "two-sided") -> float:
    """McNemar's exact test (1947, 10.1007/BF02295996): the p value that so lopsided a disagreement
    is chance.

    Args:
        better: images about which only the first model is right; over seeds, those with more of its
            seeds right.
        worse: images about which only the second is right.
        alternative: `two-sided`, or `greater`: as many or more for the first.
    """
    count = better + worse
    if alternative == "greater":
        return float(special.bdtrc(better - 1, count, 0.5)) if better else 1.0
    return min(1.0, 2 * float(special.bdtr(min(better, worse), count, 0.5)))


def _coins(count: int) -> Floats:
    """The probability of each number of heads of so many fair coins, (count + 1,)."""
    heads = np.arange(count + 1)
    ways = special.gammaln(count + 1) - special.gammaln(heads + 1)
    found: Floats = np.exp(ways - special.gammaln(count - heads + 1) - count * np.log(2))
    return found


def holm(p: Floats) -> Floats:
    """Holm's adjusted p values of a family (1979, Scandinavian Journal of Statistics 6:65), (...,
    M); nan stays out.
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
    """The smallest true gap that `alpha` shows four times in five (Bloom 1995,
    10.1177/0193841X9501900504).
    """
    return gap.half_width(alpha) + gap.half_width(2 * (1 - POWER))


def equivalent(gap: Crossed, margin: float = MARGIN) -> NDArray[np.bool_]:
    """Whether two one-sided tests at 5 % show a gap within the margin (Schuirmann 1987,
    10.1007/BF01068419).
    """
    return np.abs(gap.mean) + gap.half_width(2 * ALPHA) < margin


def more_seeds(gap: Crossed, alpha: float = ALPHA, margin: float = MARGIN) -> int | None:
    """About how many more seeds settle it, were the gap and the variances those seen (power as in
    `shown_from`).

    Settled is a gap that is shown at `alpha`, or one within the margin. None where the images' part
    of the variance alone is too much, or it would take more than a hundred seeds.
    """
    seeds = np.arange(gap.seeds + 1, MOST_SEEDS + 1)
    then, size = gap.with_seeds(seeds), abs(float(gap.mean))
    within = then.half_width(2 * ALPHA) + then.half_width(2 * (1 - POWER)) <= margin - size
    enough = seeds[(shown_from(then, alpha) <= size) | within]
    return int(enough[0]) - gap.seeds if len(enough) else None


def stopping_half_width(gap: Crossed) -> Floats:
    """Half the width of an interval that holds 95 % of the time whenever one stops: Bonferroni over
    `LOOKS`.

    An alpha-spending scheme (Lan and DeMets 1983, 10.1093/biomet/70.3.659) that spends 1 % at each
    of five predeclared
    looks: the union bound makes it valid under any rule that stops at one of them, if each interval
    by itself is. Sequences that hold at every number of seeds are asymptotic or assume one source
    of chance; here there are two.
    """
    return gap.half_width(ALPHA / len(LOOKS))

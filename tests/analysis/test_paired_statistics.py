"""The statistics keep their guarantees in thousands of simulated sweeps with a known truth."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from analysis.seeds import is_enough
from analysis.statistics import (
    ALPHA,
    LOOKS,
    Crossed,
    cohens_h,
    crossed,
    equivalent,
    holm,
    mcnemar,
    more_seeds,
    shown_from,
    sign_flip,
    stopping_half_width,
)

PHOTOS, SWEEPS, BATCH = 500, 3000, 500


class Truth(NamedTuple):
    """The parameters of simulated sweeps.

    Right or wrong is a probit of the photo's difficulty, the seed's effect and a residual.
    """

    difficulty: float = 1.0  # sd of the photos' difficulty, the same for all variants
    taste: float = 0.3  # sd of a photo's extra difficulty for one variant
    seed: float = 1.5  # sd of accuracy between seeds, in points
    cut: float = 1.0  # sd from the labelled photos that a seed draws, the same for all variants
    level: float = 0.25
    better: float = 0.0  # advantage of the second variant, as a probit

    def draw(
        self, seeds: int, sweeps: int, random: np.random.Generator
    ) -> tuple[NDArray[np.float32], list[float]]:
        """Right or wrong (2, sweeps, seeds, PHOTOS) of two variants, and their true accuracies."""
        spread = 2 + self.difficulty**2 + self.taste**2
        point = np.sqrt(spread) / stats.norm.pdf(self.level / np.sqrt(spread)) / 100
        normal = lambda *shape: random.standard_normal(shape, np.float32)  # noqa: E731
        shared = self.difficulty * normal(sweeps, 1, PHOTOS) + self.cut * point * normal(
            sweeps, seeds, 1
        )
        own = self.taste * normal(2, sweeps, 1, PHOTOS) + self.seed * point * normal(
            2, sweeps, seeds, 1
        )
        level = np.array([self.level, self.level + self.better])
        z = level[:, None, None, None].astype(np.float32) + shared + own
        z += np.float32(np.sqrt(2)) * normal(2, sweeps, seeds, PHOTOS)
        total = np.sqrt(spread + point**2 * (self.seed**2 + self.cut**2))
        return (z > 0).astype(np.float32), list(stats.norm.cdf(level / total))


def coverage(truth: Truth, seeds: int) -> tuple[float, float]:
    """How often the interval of a cell and that of a gap contain the true value."""
    random, cell, gap = np.random.default_rng(seeds), 0, 0
    for _ in range(SWEEPS // BATCH):
        right, (first, second) = truth.draw(seeds, BATCH, random)
        one, both = crossed(right[0]), crossed(right[1] - right[0])
        cell += int((np.abs(one.mean - first) <= one.satterthwaite()).sum())
        gap += int((np.abs(both.mean - (second - first)) <= both.half_width()).sum())
    return cell / SWEEPS, gap / SWEEPS


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("truth", [Truth(), Truth(level=-0.8), Truth(difficulty=2.0, better=0.2)])
def test_intervals_cover_the_truth_as_often_as_they_say(truth: Truth, seeds: int) -> None:
    cell, gap = coverage(truth, seeds)
    assert cell == pytest.approx(0.95, abs=0.015), (cell, gap)
    assert gap == pytest.approx(0.95, abs=0.015), (cell, gap)


def wrong_at_most(allowed: float, times: int) -> float:
    """The share of errors that a procedure at level `allowed` exceeds in only one of 1000
    simulations.
    """
    return float(stats.binom.isf(0.001, times, allowed)) / times


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("truth", [Truth(), Truth(seed=3.0), Truth(seed=0.5, taste=0.6)])
def test_a_gap_that_is_none_is_shown_at_most_one_time_in_twenty(truth: Truth, seeds: int) -> None:
    """Four comparisons of a sweep, adjusted by Holm, where any error counts; and one comparison
    alone.
    """
    random = np.random.default_rng(1)
    right, _ = truth.draw(seeds, 2000, random)
    p = crossed(right[1] - right[0]).p_value()
    assert (p <= ALPHA).mean() <= wrong_at_most(ALPHA, 2000)
    family = holm(p.reshape(500, 4))
    assert (family.min(1) <= ALPHA).mean() <= wrong_at_most(ALPHA, 500)


def test_photos_alone_would_be_wrong_far_more_often() -> None:
    """Why no verdict uses sign flips or McNemar's test: they ignore the variation between seeds."""
    right, _ = Truth(seed=3.0).draw(3, 300, np.random.default_rng(2))
    votes = (right[1] - right[0]).sum(1).astype(int)
    assert np.mean([sign_flip(one) <= ALPHA for one in votes]) > 0.2
    assert np.mean([mcnemar((one > 0).sum(), (one < 0).sum()) <= ALPHA for one in votes]) > 0.15


def bootstrap_coverage(truth: Truth, seeds: int) -> float:
    """How often percentiles of a gap over resampled seeds and photos contain the true value."""
    random, held, sweeps = np.random.default_rng(3), 0, 1000
    right, (first, second) = truth.draw(seeds, sweeps, random)
    photos = (random.multinomial(PHOTOS, np.full(PHOTOS, 1 / PHOTOS), 200) / PHOTOS).astype(
        np.float32
    )
    for gap in right[1] - right[0]:
        drawn = (random.multinomial(seeds, np.full(seeds, 1 / seeds), 200) / seeds).astype(
            np.float32
        )
        low, high = np.quantile(((drawn @ gap) * photos).sum(1), [0.025, 0.975])
        held += int(low <= second - first <= high)
    return held / sweeps


def test_resampling_few_seeds_and_photos_covers_now_too_little_now_too_much() -> None:
    """Why the intervals do not come from the bootstrap."""
    assert bootstrap_coverage(Truth(seed=3.0), 3) < 0.935
    assert bootstrap_coverage(Truth(), 5) > 0.965


def test_a_sweep_that_stops_when_its_interval_is_narrow_still_covers() -> None:
    sweeps, random, held = 1000, np.random.default_rng(4), 0
    for _ in range(sweeps // 200):
        right, (first, second) = Truth(taste=0.1).draw(LOOKS[-1], 200, random)
        looks = [crossed((right[1] - right[0])[:, :look]) for look in LOOKS]
        width = np.array([stopping_half_width(one) for one in looks])
        error = np.abs(np.array([one.mean for one in looks]) - (second - first))
        stop = np.where((width <= 0.03).any(0), (width <= 0.03).argmax(0), len(LOOKS) - 1)
        assert len(set(stop)) > 1  # the rule stops at different times
        held += int((np.take_along_axis(error - width, stop[None], 0) <= 0).sum())
    assert held / sweeps >= 0.95


@pytest.mark.parametrize(("better", "fewer_than_five"), [(0.0, False), (0.55, True)])
def test_a_sweep_that_stops_at_a_gap_that_shows_is_rarely_wrong(
    better: float, fewer_than_five: bool
) -> None:
    sweeps, random = 300, np.random.default_rng(8)
    truth = Truth(taste=0.1, seed=0.7, better=better)
    right, (first, second) = truth.draw(LOOKS[-1], sweeps, random)
    looks = [crossed((right[1] - right[0])[:, :look]) for look in LOOKS]
    enough = np.array([is_enough(one, 3.0, gap=True) for one in looks])
    stop = np.where(enough.any(0), enough.argmax(0), len(LOOKS) - 1)
    error = np.abs(np.array([one.mean for one in looks]) - (second - first))
    width = np.array([stopping_half_width(one) for one in looks])
    wrong = np.take_along_axis(error > width, stop[None], 0).mean()
    assert wrong <= wrong_at_most(ALPHA, sweeps)
    assert (np.array(LOOKS)[stop].mean() < 5) == fewer_than_five


def test_the_smallest_gap_that_can_be_shown_is_shown_four_times_in_five() -> None:
    seeds, better = 5, 0.245
    right, (first, second) = Truth(better=better).draw(seeds, 1000, np.random.default_rng(5))
    gap = crossed(right[1] - right[0])
    assert float(np.median(shown_from(gap))) == pytest.approx(second - first, abs=0.01)
    assert (gap.p_value() <= ALPHA).mean() == pytest.approx(0.8, abs=0.07)


def test_a_gap_beyond_the_margin_is_rarely_called_none() -> None:
    right, (first, second) = Truth(seed=0.3, cut=0.3, taste=0.0, better=0.095).draw(
        5, 1000, np.random.default_rng(6)
    )
    assert second - first > 0.02
    gap = crossed(right[1] - right[0])
    assert equivalent(gap).mean() <= wrong_at_most(ALPHA, 1000)


def by_hand(mean: float, by_seed: float, by_image: float, seeds: int) -> Crossed:
    return Crossed(
        np.array(mean), np.array(by_seed), np.array(by_image), np.array(0.0), seeds, PHOTOS
    )


def test_more_seeds_are_as_many_as_the_power_needs() -> None:
    gap = by_hand(0.03, 0.02**2, 1e-6, 3)
    more = more_seeds(gap)
    assert more is not None
    assert (
        float(shown_from(gap.with_seeds(3 + more)))
        <= 0.03
        < float(shown_from(gap.with_seeds(2 + more)))
    )


def test_no_number_of_seeds_makes_up_for_few_photos() -> None:
    assert more_seeds(by_hand(0.03, 0.02**2, 0.02**2, 3)) is None


def test_one_source_of_chance_gives_students_t() -> None:
    seeds = np.array([0.01, 0.04, 0.02, 0.06])
    gap = crossed(np.repeat(seeds[:, None], PHOTOS, 1))
    assert float(gap.p_value()) == pytest.approx(stats.ttest_1samp(seeds, 0).pvalue, rel=1e-6)


def test_variances_are_those_of_the_analysis_of_variance() -> None:
    values = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    made = crossed(values)
    assert float(made.mean) == 0.5
    assert float(made.by_seed) * 6 == pytest.approx(3 * 2 * (1 / 6) ** 2 / 1)
    assert float(made.by_image) * 6 == pytest.approx(2 * 0.5 / 2)
    with pytest.raises(ValueError, match="two or more"):
        crossed(values[:1])


def test_equal_variants_have_no_gap() -> None:
    gap = crossed(np.zeros((3, 50)))
    assert float(gap.p_value()) == 1
    assert bool(equivalent(gap))
    assert (sign_flip(np.zeros(9, int)), mcnemar(0, 0)) == (1, 1)


def test_sign_flips_are_counted_exactly() -> None:
    votes = np.array([3, -1, 2, 2, 0, 1])
    sums = [abs(np.dot(flip, votes)) for flip in itertools.product((-1, 1), repeat=6)]
    assert sign_flip(votes) == pytest.approx(np.mean([total >= 7 for total in sums]))


def test_mcnemar_holm_and_cohen_by_hand() -> None:
    assert mcnemar(8, 2) == pytest.approx(2 * 56 / 1024)
    assert holm(np.array([0.01, 0.04, np.nan, 0.03]))[[0, 1, 3]] == pytest.approx(
        [0.03, 0.06, 0.06]
    )
    assert cohens_h(0.5, 0.5) == 0
    assert cohens_h(1.0, 0.0) == pytest.approx(np.pi)


@pytest.mark.parametrize(
    ("lost", "won", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (0, 5, 2 / 2**5),  # all five have the same sign: 2 * 1/32
        (3, 1, 2 * (1 + 4) / 2**4),  # at most one of four has the other sign
        (2, 2, 1.0),
        (10, 0, 2 / 2**10),
    ],
)
def test_mcnemar_is_the_binomial_test_on_discordant_photos(lost: int, won: int, p: float) -> None:
    assert mcnemar(lost, won) == pytest.approx(p)
    assert mcnemar(won, lost) == pytest.approx(p)

"""Whether an interval has its stated coverage and finds true differences; no time is measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from birds.use.latency.statistics import (
    MINIMUM_ROUNDS,
    Interval,
    SameAgainstSame,
    coverage,
    rank,
    ratio_interval,
    summary,
    told_apart,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def validity() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "latency_validity", ROOT / "bench" / "latency_validity.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_model_against_itself_covers_1_and_a_slowdown_is_found(validity: ModuleType) -> None:
    result = validity.judged(100, lambda random: validity.simulated(validity.RATIOS, 101, random))
    assert result.covered >= 95
    assert result.found >= 95


def test_coverage_holds_on_a_machine_so_bad_that_nothing_can_be_ranked(
    validity: ModuleType,
) -> None:
    awful = {"jitter": 0.3, "wander": 0.2, "interrupted": 0.2, "comes": 0.3, "slowed_by": 4.0}
    result = validity.judged(
        100, lambda random: validity.simulated(validity.RATIOS, 101, random, **awful)
    )
    assert result.covered >= 95
    assert result.found < 95
    assert result.noisy == 100


def test_coverage_is_98_percent_or_more_for_any_number_of_rounds() -> None:
    assert min(coverage(rounds) for rounds in range(MINIMUM_ROUNDS, 1002)) >= 0.98
    assert coverage(101) == pytest.approx(0.9835, abs=1e-4)
    assert stats.binom.sf(94, 100, coverage(101)) > 0.99  # covers in 95 or more of 100 races


def test_coverage_in_theory_is_what_fair_coins_give() -> None:
    random = np.random.default_rng(0)
    heavy = np.exp(random.standard_t(1.5, (4000, 41)).clip(-50, 50))
    covered = np.mean([ratio_interval(ratio, np.ones(41)).covers(1) for ratio in heavy])
    assert covered == pytest.approx(coverage(41), abs=3 * np.sqrt(0.012 / 4000))


def test_the_interval_is_the_bootstrap_with_very_many_draws() -> None:
    random = np.random.default_rng(1)
    first, second = np.exp(random.normal(0.3, 0.2, 61)), np.exp(random.normal(0, 0.2, 61))
    drawn = random.integers(0, 61, (100_000, 61))
    expected = np.quantile(np.median((first / second)[drawn], axis=1), [0.01, 0.99])
    own, order = ratio_interval(first, second), np.sort(first / second)
    assert (
        np.abs(np.searchsorted(order, expected) - np.searchsorted(order, [own.low, own.high])).max()
        <= 1
    )


def test_ratio_of_known_times() -> None:
    first, second = np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0])
    assert ratio_interval(first, second) == Interval(2.0, 2.0, 2.0)
    swapped = ratio_interval(second, first)
    assert (swapped.ratio, swapped.low) == (0.5, 0.5)


def test_pairing_cancels_what_slows_both() -> None:
    random = np.random.default_rng(2)
    common = np.exp(
        np.cumsum(random.normal(0, 0.3, 41))
    )  # a drift over several orders of magnitude
    interval = ratio_interval(
        1.1 * common * random.normal(1, 0.02, 41), common * random.normal(1, 0.02, 41)
    )
    assert interval.low > 1.05
    assert interval.high < 1.15


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_with_few_rounds_the_interval_spans_all_of_them(rounds: int) -> None:
    assert rank(rounds) == 1
    ratio = np.arange(1, rounds + 1.0)
    assert ratio_interval(ratio, np.ones(rounds)).high == rounds


@pytest.mark.parametrize(
    ("first", "second"),
    [([1.0], [1.0, 2.0]), ([], []), ([0.0], [1.0]), ([1.0], [float("nan")]), ([[1.0]], [[1.0]])],
)
def test_nonsense_is_refused(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match="times"):
        ratio_interval(np.array(first), np.array(second))


def test_the_check_says_when_the_machine_is_too_noisy() -> None:
    good = SameAgainstSame(Interval(1.0, 0.98, 1.01))
    assert good.fair
    assert not good.noisy
    wide, unfair = (
        SameAgainstSame(Interval(1.0, 0.8, 1.1)),
        SameAgainstSame(Interval(1.03, 1.02, 1.04)),
    )
    assert wide.noisy
    assert "too noisy to rank models that differ by less than 20.0%" in wide.verdict
    assert unfair.noisy
    assert "too noisy to rank any two models" in unfair.verdict


def test_models_are_told_apart_only_beyond_what_equal_models_show() -> None:
    same = SameAgainstSame(Interval(1.0, 0.98, 1.02))
    assert told_apart(Interval(0.5, 0.45, 0.55), same) == "faster"
    assert told_apart(Interval(1.5, 1.45, 1.55), same) == "slower"
    assert told_apart(Interval(1.05, 0.99, 1.1), same) == "cannot be told"
    assert told_apart(Interval(1.01, 1.005, 1.015), same) == "cannot be told"
    assert (
        told_apart(Interval(0.5, 0.45, 0.55), SameAgainstSame(Interval(1.03, 1.02, 1.04)))
        == "cannot be told"
    )


def test_summary_in_milliseconds_and_photos_a_second() -> None:
    found = summary(np.array([[1_000_000, 2_000_000], [3_000_000, 10_000_000]]), batch=8)
    assert found["median_ms"] == 2.5
    assert found["images_per_second"] == pytest.approx(8 * 4 / 0.016)
    assert found["median_ms"] < found["p95_ms"] < found["p99_ms"] < 10
    assert found["calls"] == 4


def test_binomial_rank_agrees_with_the_sign_test() -> None:
    k = rank(41)
    outside = 2 * stats.binom.cdf(k - 1, 41, 0.5)
    assert coverage(41) == pytest.approx(1 - outside)

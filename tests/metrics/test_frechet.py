"""The Fréchet distance compared with the theory of normal distributions."""

from __future__ import annotations

import numpy as np
import pytest

from birds.metrics.frechet import frechet_distance


def normal(count: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)


def test_a_set_is_no_distance_from_itself_and_a_shift_costs_its_square() -> None:
    one = normal(200, 6)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(one, one + 2) == pytest.approx(6 * 4, rel=1e-5)


def test_in_one_dimension_it_is_the_gap_of_means_and_of_deviations() -> None:
    one, other = normal(50, 1), 3 * normal(80, 1, seed=1) + 1
    means = one.mean() - other.mean()
    deviations = one.std(ddof=1) - other.std(ddof=1)
    assert frechet_distance(one, other) == pytest.approx(means**2 + deviations**2, rel=1e-4)


def test_it_is_symmetric_and_minds_how_features_vary_together() -> None:
    one, other = normal(300, 4), normal(300, 4, seed=1)
    turned = other @ np.array([[1, 0.9, 0, 0], [0, 0.4, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    there, back = frechet_distance(one, turned), frechet_distance(turned, one)
    assert there == pytest.approx(back, rel=1e-6)
    assert there > 3 * frechet_distance(one, other)


def test_fewer_images_than_features_and_too_few() -> None:
    assert np.isfinite(frechet_distance(normal(3, 10), normal(4, 10, seed=1)))
    with pytest.raises(ValueError, match="two images or more"):
        frechet_distance(normal(1, 3), normal(5, 3))

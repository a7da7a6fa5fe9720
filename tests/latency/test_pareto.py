"""Which models are on the Pareto front, and how certain an accuracy is."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.pareto import pareto, wilson


def test_the_front_holds_what_no_other_beats_in_both() -> None:
    x, y = np.array([3.0, 1.0, 2.0, 1.0, 4.0]), np.array([9.0, 5.0, 4.0, 6.0, 9.0])
    assert pareto(x, y).tolist() == [3, 0]


def test_wilson_intervals_of_known_shares() -> None:
    assert wilson(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-3)
    assert wilson(1.0, 100) == pytest.approx((0.9630, 1.0), abs=1e-3)

"""Wilson's interval is that of scipy, whose import takes longer than a table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from birds.core.proportions import wilson


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_interval_is_that_of_scipy(images: int, share: float) -> None:
    right = round(share * images)
    expected = binomtest(right, images).proportion_ci(method="wilson")
    assert wilson(right, images) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("right", "images"), [(-1, 5), (6, 5), (0, 0)])
def test_what_is_no_proportion_is_refused(right: int, images: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson(right, images)

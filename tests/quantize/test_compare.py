"""The paired comparison, worked by hand."""

import numpy as np
import pytest

from birds.quantize.compare import compared, mcnemar, paired_interval


@pytest.mark.parametrize(
    ("lost", "won", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (0, 5, 2 / 2**5),  # all five one way: 2 * 1/32
        (3, 1, 2 * (1 + 4) / 2**4),  # at most one of four the other way
        (2, 2, 1.0),
        (10, 0, 2 / 2**10),
    ],
)
def test_mcnemar_is_the_binomial_test_on_discordant_photos(lost, won, p):
    assert mcnemar(lost, won) == pytest.approx(p)
    assert mcnemar(won, lost) == pytest.approx(p)


def test_the_interval_is_centred_near_the_difference_and_narrows():
    low, high = paired_interval(4, 4, 500)
    assert low == pytest.approx(-high)
    assert low < 0 < high
    assert paired_interval(30, 2, 500)[1] < 0
    wide, narrow = paired_interval(4, 4, 100), paired_interval(4, 4, 1000)
    assert narrow[1] < wide[1]


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says():
    random, photos, covered = np.random.default_rng(0), 400, 0
    for lost, won, _ in random.multinomial(photos, [0.02, 0.01, 0.97], size=1000):
        low, high = paired_interval(int(lost), int(won), photos)
        covered += low <= -0.01 <= high
    assert 930 <= covered <= 980


def test_flips_are_named_and_counted():
    first = np.array([[2, 1], [2, 1], [1, 2], [1, 2]], dtype=np.float32)
    second = np.array([[2, 1], [1, 2], [1, 2], [2, 1]], dtype=np.float32)
    found = compared(first, second, np.array([0, 0, 1, 0]), ["a", "b", "c", "d"], ["ROBIN", "WREN"])
    assert found["agreement"] == 0.5
    assert (found["only_first_right"], found["only_second_right"]) == (1, 1)
    assert found["accuracy_difference"] == 0
    assert found["flips"] == [
        {"photo": "b", "species": "ROBIN", "first": "ROBIN", "second": "WREN"},
        {"photo": "d", "species": "ROBIN", "first": "WREN", "second": "ROBIN"},
    ]

"""The paired comparison, checked with counts by hand."""

import numpy as np
import pytest

from birds.use.quantize.compare import compared, falls, mcnemar, paired_interval


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
        {"image": "b", "class": "ROBIN", "first": "ROBIN", "second": "WREN"},
        {"image": "d", "class": "ROBIN", "first": "WREN", "second": "ROBIN"},
    ]


def how_often(photos, loss, changing, repetitions=2000):
    """How often a twin with the true loss `loss` is reported as worse.

    A further fraction `changing` of the images changes, half in each direction.
    """
    shares = [loss + changing / 2, changing / 2, 1 - loss - changing]
    drawn = np.random.default_rng(0).multinomial(photos, shares, size=repetitions)
    return np.mean([falls(int(lost), int(won), photos) for lost, won, _ in drawn])


@pytest.mark.parametrize("photos", [100, 500, 2500])
@pytest.mark.parametrize("changing", [0.0, 0.02, 0.04, 0.08])
def test_a_twin_that_loses_nothing_rarely_has_layers_in_float(photos, changing):
    assert how_often(photos, 0.0, changing) < 0.1


@pytest.mark.parametrize(("photos", "loss"), [(100, 0.1), (500, 0.05), (2500, 0.02)])
def test_a_twin_that_loses_much_almost_always_has(photos, loss):
    assert how_often(photos, loss, 0.01) > 0.95


def test_a_fall_must_be_more_than_a_point_and_more_than_chance():
    assert not falls(2, 0, 100)  # two photos of a hundred may be chance
    assert falls(4, 0, 100)
    assert not falls(20, 5, 2500)  # certainly a loss, but only of 0.6 points
    assert falls(2, 0, 100, known=True)
    assert not falls(1, 0, 100, known=True)


def test_the_exact_test_by_hand():
    assert mcnemar(0, 0) == 1
    assert mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(9, 1, "greater") == pytest.approx(11 / 1024)
    assert mcnemar(1, 9, "greater") > 0.99

"""Seconds by phase: phases follow each other, and one may come back."""

import time

import pytest

from birds.core.stopwatch import Stopwatch


def test_phases_add_up_to_the_time_that_passed() -> None:
    watch, started = Stopwatch(), time.perf_counter()
    assert watch.seconds() == {}
    for phase in ("open", "train", "test", "train"):
        watch.begin(phase)
        time.sleep(0.02)
    seconds = watch.seconds()
    passed = time.perf_counter() - started
    assert list(seconds) == ["open", "train", "test"]
    assert seconds["train"] >= 0.04
    assert sum(seconds.values()) == pytest.approx(passed, abs=0.01)

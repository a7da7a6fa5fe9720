"""The order of a race is balanced, its settings are reset, and slower models are found to be
slower.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from birds.use.latency.race import (
    CALLS,
    LONG,
    SETTLE,
    WARM_UP_SECONDS,
    Classifier,
    Contestant,
    Images,
    orders,
    pinned,
    raced,
)

GROUPS = ["a", "a", "a", "b", "b", "c"]
IMAGES = np.zeros((1, 2, 2, 3), np.uint8)
pins = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin")


def drawn(rounds: int, seed: int = 0) -> list[list[int]]:
    return list(orders(GROUPS, rounds, np.random.default_rng(seed)))


def test_every_round_has_every_contestant_once() -> None:
    assert all(sorted(order) == list(range(6)) for order in drawn(50))


def test_a_round_and_the_next_give_each_contestant_the_same_mean_position() -> None:
    for first, second in zip(drawn(50)[::2], drawn(50)[1::2], strict=True):
        assert [first.index(k) + second.index(k) for k in range(6)] == [5] * 6


def test_over_many_rounds_each_contestant_comes_first_and_each_before_each_other_as_often() -> None:
    rounds = drawn(3000)
    before = np.mean(
        [
            [[order.index(a) < order.index(b) for b in range(6)] for a in range(6)]
            for order in rounds
        ],
        0,
    )
    assert np.allclose(before[~np.eye(6, dtype=bool)], 0.5, atol=0.001)
    firsts = [sum(GROUPS[order[0]] == group for order in rounds) / len(rounds) for group in "abc"]
    assert firsts == pytest.approx([1 / 3] * 3, abs=0.03)


def test_the_models_of_a_run_stand_together() -> None:
    for order in drawn(40):
        places = [k for k, one in enumerate(order) if GROUPS[one] == "a"]
        assert places == list(range(places[0], places[0] + 3))


def test_the_order_is_random_and_depends_on_the_seed_alone() -> None:
    assert drawn(10) == drawn(10)
    assert drawn(10) != drawn(10, seed=1)
    assert len({tuple(order) for order in drawn(100)}) > 30


def waits(seconds: float) -> Classifier:
    def classify(images: Images) -> np.ndarray:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        return np.zeros((len(images), 2), np.float32)

    return classify


def race(*seconds: float, rounds: int = 5) -> list[np.ndarray]:
    ones = [Contestant("run", f"m{k}", waits(s), IMAGES) for k, s in enumerate(seconds)]
    found = raced(ones, rounds=rounds, seconds=0, random=np.random.default_rng(0))
    assert all(len(times.rounds) == rounds for times in found)
    return [times.calls for times in found]


def test_times_are_in_nanoseconds_and_belong_to_their_contestant() -> None:
    quick, slow = race(0.0005, 0.002)
    assert 500_000 <= quick.min() < 1_500_000
    assert slow.min() >= 2_000_000
    assert len(quick) == len(slow) == 5


def counted(seconds: float, calls: list[str], name: str) -> Classifier:
    classify = waits(seconds)
    return lambda images: calls.append(name) or classify(images)  # type: ignore[func-returns-value]


@pytest.mark.parametrize(("seconds", "each"), [(0.001, CALLS), (1.2 * LONG, 1)])
def test_all_are_called_alike_and_once_a_round_where_calls_are_long(
    seconds: float, each: int
) -> None:
    calls: list[str] = []
    ones = [
        Contestant("run", name, counted(s, calls, name), IMAGES)
        for name, s in (("a", 0.001), ("b", seconds))
    ]
    raced(ones, rounds=7, seconds=0, random=np.random.default_rng(0))
    assert calls[-14 * each :].count("a") == calls[-14 * each :].count("b") == 7 * each


def test_the_quickest_call_of_a_visit_is_compared_and_the_last_one_shown() -> None:
    # a warm-up of 3 calls, then rounds of 2; long enough that a busy machine's interruptions are
    # small beside them
    took = iter([0.01] * 3 + [0.015, 0.04, 0.04, 0.015] * 10)

    def classify(images: Images) -> np.ndarray:
        return waits(next(took))(images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("birds.use.latency.race.WARM_UP_SECONDS", 0)
        times = raced(
            [Contestant("run", "m", classify, IMAGES)],
            rounds=4,
            seconds=0,
            random=np.random.default_rng(0),
        )
    assert times[0].rounds / 1e6 == pytest.approx([15] * 4, abs=12)
    assert all(times[0].calls[::2] > times[0].calls[1::2])


def test_rounds_go_on_while_there_is_time() -> None:
    one = Contestant("run", "m", waits(0.0005), IMAGES)
    times = raced([one], rounds=3, seconds=0.3, random=np.random.default_rng(0))[0]
    assert len(times.rounds) > 20


def test_no_garbage_is_collected_inside_and_all_is_as_before_afterwards() -> None:
    seen: list[bool] = []

    def classify(images: Images) -> np.ndarray:
        seen.append(gc.isenabled())
        return np.zeros((1, 2), np.float32)

    raced(
        [Contestant("run", "m", classify, IMAGES)],
        rounds=2,
        seconds=0,
        random=np.random.default_rng(0),
    )
    assert not any(seen)
    assert gc.isenabled()


@pytest.fixture
def worker() -> Iterator[int]:
    """The id of a thread that exists before the race, like those of OpenMP."""
    numbers: list[int] = []
    ready, done = threading.Event(), threading.Event()

    def live() -> None:
        numbers.append(threading.get_native_id())
        ready.set()
        done.wait()

    thread = threading.Thread(target=live)
    thread.start()
    ready.wait()
    yield numbers[0]
    done.set()
    thread.join()


@pins
def test_every_thread_is_pinned_and_let_go_again(worker: int) -> None:
    before = os.sched_getaffinity(0)
    with pinned(1) as cores:
        assert len(cores) == 1
        assert os.sched_getaffinity(0) == os.sched_getaffinity(worker) == set(cores)
    assert os.sched_getaffinity(0) == os.sched_getaffinity(worker) == before


@pins
def test_threads_born_inside_are_let_go_too() -> None:
    ready, done = threading.Event(), threading.Event()

    def live() -> None:
        ready.set()
        done.wait()

    thread = threading.Thread(target=live)
    with pinned(1) as cores:
        thread.start()
        ready.wait()
        assert os.sched_getaffinity(thread.native_id or 0) == set(cores)
    assert os.sched_getaffinity(thread.native_id or 0) == os.sched_getaffinity(0)
    done.set()
    thread.join()


@pins
def test_a_failure_inside_lets_go() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), pinned(1):
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(("threads", "at_least"), [(1, 0.0), (2, SETTLE)])
def test_with_several_threads_a_model_settles_before_it_is_timed(
    threads: int, at_least: float
) -> None:
    began: list[float] = []

    def classify(images: Images) -> np.ndarray:
        began.append(time.perf_counter())
        time.sleep(0.001)
        return np.zeros((1, 2), np.float32)

    one = Contestant("run", "m", classify, IMAGES)
    times = raced([one], threads=threads, rounds=2, seconds=0, random=np.random.default_rng(0))[0]
    assert len(times.calls) == len(times.rounds) == 2
    assert began[-1] - began[0] >= WARM_UP_SECONDS + 2 * at_least

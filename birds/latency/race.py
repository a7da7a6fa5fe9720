"""The race: every model timed in every round, in random order, by one thread that nobody else is given.

A round goes through the runs in random order and, within a run, through its models in random order, so the models that
are compared stand close together in time. Every second round goes backwards through the one before: over the two, each
model stands at the same mean position, and a drift of the machine favours none.

A visit to a model is `SETTLE` of calls that are not timed, which bring its weights into the caches, and then the timed
ones. A call that takes `LONG` does that for itself and is made once. With several threads a visit must also outlast
the one before: after a call ONNX Runtime's idle threads spin for 46 ms and OpenMP's for 10 ms, on a core that the next
model needs (measured: eager on 2 of 2 cores took twice as long behind ONNX Runtime as alone). So it settles longer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Photos = NDArray[np.uint8]
Classifier = Callable[[Photos], NDArray[np.float32]]

LONG = 0.05  # seconds
CALLS = 3
SETTLE, SETTLE_TOGETHER = 0.005, 0.1  # seconds; with one thread, with several
WARM_UP_CALLS, WARM_UP_SECONDS = 3, 0.3
MOST_ROUNDS = 1001


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A model under a name: `classify` maps photos, uint8 (B, H, W, 3), to logits, float32 (B, S), on the host.

    group is the key of its run; contestants of one group are compared with each other. Each call gets the same photos.
    """

    group: str
    name: str
    classify: Classifier
    photos: Photos

    def timed(self) -> int:
        """Nanoseconds that one call takes."""
        started = time.perf_counter_ns()
        self.classify(self.photos)
        return time.perf_counter_ns() - started

    def warmed_up(self) -> float:
        """Call until warm; seconds of the fastest call."""
        took: list[int] = []
        until = time.perf_counter() + WARM_UP_SECONDS
        while len(took) < WARM_UP_CALLS or time.perf_counter() < until:
            took.append(self.timed())
        return min(took) / 1e9

    def visit(self, *, settle: float, calls: int) -> list[int]:
        """Nanoseconds of the timed calls of one visit, after `settle` seconds of others."""
        until = time.perf_counter() + settle
        while time.perf_counter() < until:
            self.classify(self.photos)
        return [self.timed() for _ in range(calls)]


@dataclasses.dataclass(frozen=True)
class Times:
    """Times of one contestant in ns: `calls` of all rounds one after the other, and the median of each round, (R,)."""

    calls: NDArray[np.int64]
    rounds: NDArray[np.float64]


def orders(groups: Sequence[str], rounds: int, random: np.random.Generator) -> Iterator[list[int]]:
    """For each round the order of the contestants, given the group of each: groups shuffled, then each within.

    Every second round is the one before backwards.
    """
    order: list[int] = []
    for number in range(rounds):
        order = order[::-1] if number % 2 else _shuffled(groups, random)
        yield order


def _shuffled(groups: Sequence[str], random: np.random.Generator) -> list[int]:
    names = list(dict.fromkeys(groups))
    members = [[k for k, group in enumerate(groups) if group == names[g]] for g in random.permutation(len(names))]
    return [int(k) for group in members for k in random.permutation(group)]


def raced(
    contestants: Sequence[Contestant], *, threads: int = 1, rounds: int, seconds: float, random: np.random.Generator
) -> list[Times]:
    """Times of each contestant.

    Args:
        contestants: the models.
        threads: how many each uses.
        rounds: how many there are at least.
        seconds: with time left, more rounds are made until about this much is spent.
        random: for the order.
    """
    with quiet():
        plan = [_visit_plan(one.warmed_up() > LONG, threads) for one in contestants]
        visits: list[list[list[int]]] = [[] for _ in contestants]
        groups = [one.group for one in contestants]
        started = time.perf_counter()
        for done, order in enumerate(orders(groups, max(rounds, MOST_ROUNDS), random)):
            if done >= rounds and time.perf_counter() - started > seconds:
                break
            for k in order:
                visits[k].append(contestants[k].visit(**plan[k]))
    return [
        Times(np.array([ns for visit in own for ns in visit]), np.array([float(np.median(visit)) for visit in own]))
        for own in visits
    ]


def _visit_plan(slow: bool, threads: int) -> dict[str, Any]:
    alone = 0.0 if slow else SETTLE
    return {"settle": alone if threads == 1 else SETTLE_TOGETHER, "calls": 1 if slow else CALLS}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No garbage collection inside; as before afterwards."""
    gc.collect()
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[list[int]]:
    """Keep every thread of this process on `threads` of its cores; afterwards each may go where it could before.

    The last cores are taken, since the first ones serve most interrupts. Threads that are started inside inherit it;
    those that are there already (OpenMP keeps its workers) are moved too. Yields the cores, none where the system
    cannot pin.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield []
        return
    before = {}
    for thread in _threads():
        with contextlib.suppress(ProcessLookupError):
            before[thread] = os.sched_getaffinity(thread)
    allowed = os.sched_getaffinity(0)
    cores = sorted(allowed)[-threads:]
    for thread in before:
        _move(thread, cores)
    try:
        yield cores
    finally:
        for thread in _threads():
            _move(thread, before.get(thread, allowed))


def _threads() -> list[int]:
    tasks = Path("/proc/self/task")
    return [int(task.name) for task in tasks.iterdir()] if tasks.is_dir() else [0]


def _move(thread: int, cores: list[int] | set[int]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
        os.sched_setaffinity(thread, cores)

"""The race: every model is timed in every round, in random order, on pinned cores.

A round visits the runs in random order and, within a run, its models in random order, so compared
models are timed close together. Every second round repeats the one before in reverse order. Over
the two rounds each model has the same mean position, so a drift of the machine favours none.

A visit to a model consists of two calls. Comparisons use the faster one, because an interruption
rarely affects both, and the second call finds its weights in the caches. The shown times use only
the second call. If a model takes `LONG`, every visit has a single call. Few calls per visit and
many rounds bring the compared calls close together in time: on a busy machine, intervals were 0.08
wide; three calls after 5 ms of warm-up, in half as many rounds, gave 0.20 in the same time.

With several threads, a visit must also outlast the effects of the one before. After a call, ONNX
Runtime's idle threads spin for 46 ms and OpenMP's for 10 ms, on cores that the next model needs
(measured: eager on 2 of 2 cores took twice as long after ONNX Runtime as alone). So a visit starts
with `SETTLE` of calls that are not timed.
"""

import contextlib
import dataclasses
import gc
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Classifier = Callable[[Images], NDArray[np.float32]]

LONG = 0.05  # seconds
CALLS = 2
SETTLE = 0.06  # seconds
WARM_UP_CALLS, WARM_UP_SECONDS = 3, 0.1
MOST_ROUNDS = 1001


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A model in the race, under a name.

    group: the key of its run; models of one group are compared with each other.
    classify: from images, uint8 (B, H, W, C), to logits, float32 (B, S), both in host memory.
    images: the input of every call.
    about: the columns of its row that describe the model.
    """

    group: str
    name: str
    classify: Classifier
    images: Images
    about: dict[str, Any] = dataclasses.field(default_factory=dict)

    def called(self, *, calls: int = 0, seconds: float = 0.0) -> list[int]:
        """The nanoseconds of each call; at least `calls`, and more until `seconds` have passed."""
        took: list[int] = []
        until = time.perf_counter() + seconds
        while len(took) < calls or time.perf_counter() < until:
            started = time.perf_counter_ns()
            self.classify(self.images)
            took.append(time.perf_counter_ns() - started)
        return took


@dataclasses.dataclass(frozen=True)
class Times:
    """The times of one model in ns, one for each round (R,).

    calls: of the last call of each visit, which is warm.
    rounds: of the fastest call of each visit.
    """

    calls: NDArray[np.int64]
    rounds: NDArray[np.int64]


def orders(groups: Sequence[str], rounds: int, random: np.random.Generator) -> Iterator[list[int]]:
    """For each round, the order of the models, as positions in `groups`.

    Groups are shuffled, then the models within each group. Every second round reverses the one
    before.
    """
    order: list[int] = []
    for number in range(rounds):
        order = order[::-1] if number % 2 else _shuffled(groups, random)
        yield order


def _shuffled(groups: Sequence[str], random: np.random.Generator) -> list[int]:
    names = list(dict.fromkeys(groups))
    order: list[int] = []
    members = []
    for number in random.permutation(len(names)):
        members.append([k for k, group in enumerate(groups) if group == names[number]])
    for group in members:
        order += random.permutation(group).tolist()
    return order


def raced(
    contestants: Sequence[Contestant],
    *,
    threads: int = 1,
    rounds: int,
    seconds: float,
    random: np.random.Generator,
) -> list[Times]:
    """The times of each model. Python's garbage collection is off during the race.

    Args:
        contestants: the models.
        threads: how many threads each model uses.
        rounds: the least number of rounds.
        seconds: further rounds follow until about this time has passed.
        random: for the order.
    """
    gc.collect()
    gc.disable()
    try:
        took = [
            min(one.called(calls=WARM_UP_CALLS, seconds=WARM_UP_SECONDS)) for one in contestants
        ]
        calls, settle = (1 if max(took) > LONG * 1e9 else CALLS), (SETTLE if threads > 1 else 0.0)
        visits: list[list[list[int]]] = [[] for _ in contestants]
        started = time.perf_counter()
        for done, order in enumerate(
            orders([one.group for one in contestants], max(rounds, MOST_ROUNDS), random)
        ):
            if done >= rounds and time.perf_counter() - started > seconds:
                break
            for k in order:
                contestants[k].called(seconds=settle)
                visits[k].append(contestants[k].called(calls=calls))
    finally:
        gc.enable()
    ns = np.array(visits)
    return [Times(own[:, -1], own.min(axis=1)) for own in ns]


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[list[int]]:
    """Inside, keep every thread of this process on `threads` of its cores.

    It uses the last cores, because the first ones serve most interrupts. New threads inherit this,
    and existing ones (OpenMP keeps its workers) are moved too. Yields the cores, or an empty list
    if the system cannot pin. Afterwards all threads may use all cores of the process again.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    cores = sorted(allowed)[-threads:]
    _move_all_threads(cores)
    try:
        yield cores
    finally:
        _move_all_threads(allowed)


def _move_all_threads(cores: Collection[int]) -> None:
    for task in Path("/proc/self/task").iterdir() if cores else ():
        with contextlib.suppress(ProcessLookupError):  # the thread has ended
            os.sched_setaffinity(int(task.name), cores)

"""Times the models of runs for each number of threads and batch size; gives rows with intervals."""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from birds.core.randomness import stream
from birds.use.latency.entries import EAGER, Entry, plain_fp32, started
from birds.use.latency.host import seconds_of_others
from birds.use.latency.race import Contestant, Times, pinned, raced
from birds.use.latency.statistics import SameAgainstSame, ratio_interval, summary, told_apart

AGAIN = " again"

Say = Callable[[str], object]
Row = dict[str, Any]


def raced_rows(
    runs: Sequence[Sequence[Entry]],
    cell: Row,
    title: str,
    *,
    rounds: int,
    seconds: float,
    say: Say,
) -> list[Row]:
    """Start all models of the runs, time them, and compare each with the others of its run.

    Args:
        runs: the entries of each run.
        cell: device, threads and batch.
        title: the cell in a few words.
        rounds, seconds: at least so many rounds, and more until so many seconds have passed.
        say: gets progress messages.
    """
    left_out: dict[str, dict[str, str]] = {own[0].key: {} for own in runs}

    def give_up(entry: Entry, reason: str) -> None:
        left_out[entry.key][entry.name] = reason
        say(f"{title}: {entry.name} of {entry.key} is left out: {reason}")

    torch.compiler.reset()  # torch.compile allows only a few graphs of one function
    with plain_fp32(), pinned(cell["threads"]) as pinned_to:
        say(f"{title}: starting and compiling models")
        working: list[Contestant] = []
        for own_entries in runs:
            working += started(own_entries, cell["threads"], cell["batch"], give_up)
        contestants = working + twins(working)
        say(f"{title}: timing {len(contestants)} models")
        state, times = _watched(contestants, cell, rounds, seconds)
    rows = []
    for key, reasons in left_out.items():
        known = cell | state | {"pinned_to": pinned_to, "left_out": reasons}
        own = [one for one in working if one.group == key]
        rows += _rows_of(known, compared(own, _taken(key, contestants, times), cell["batch"]))
    return rows


def _rows_of(known: Row, measured: Sequence[Row]) -> list[Row]:
    return [known | row for row in measured]


def _taken(key: str, contestants: Sequence[Contestant], times: Sequence[Times]) -> dict[str, Times]:
    """The times of one run's models by their names."""
    pairs = zip(contestants, times, strict=True)
    return {one.name: taken for one, taken in pairs if one.group == key}


def _watched(
    contestants: Sequence[Contestant], cell: Row, rounds: int, seconds: float
) -> tuple[Row, list[Times]]:
    """Time all models; returns the machine's load before and during the race, and the times."""
    load, others, began = os.getloadavg()[0], seconds_of_others(), time.perf_counter()
    random = stream(0, "race", cell["threads"], cell["batch"])
    times = raced(
        contestants, threads=cell["threads"], rounds=rounds, seconds=seconds, random=random
    )
    took, after = time.perf_counter() - began, seconds_of_others()
    lost = max(0.0, (after - others) / took) if after is not None and others is not None else None
    return {"load_before": load, "cores_of_others": lost, "time": time.time()}, times


def twins(working: Sequence[Contestant]) -> list[Contestant]:
    """For each run, a second copy of one model under another name: the first that is not fp32.

    Fast models are affected most by noise. The copy is the same object in memory, so the comparison
    tests whether the timing is fair, not whether two loads of a file are equal.
    """
    chosen: dict[str, Contestant] = {}
    for one in sorted(working, key=lambda one: bool(one.about["baseline"])):
        chosen.setdefault(one.group, dataclasses.replace(one, name=one.name + AGAIN))
    return list(chosen.values())


def compared(own: Sequence[Contestant], times: Mapping[str, Times], batch: int) -> list[Row]:
    """A row for each model of one run, compared with eager and with the fastest fp32 model.

    The fastest has the smallest median. Ratios are of times: 0.2 means five times as fast. A ratio
    of a model to itself, or to a baseline that did not run, is None.
    """
    if not own:
        return []
    again = next(name for name in times if name.endswith(AGAIN))
    same = SameAgainstSame(
        ratio_interval(times[again].rounds, times[again.removesuffix(AGAIN)].rounds)
    )
    fp32 = [one.name for one in own if one.about["baseline"]]
    best = min(fp32, key=lambda name: float(np.median(times[name].calls)), default=None)
    shared = {"best_fp32": best, "aa_model": again.removesuffix(AGAIN), "aa": same.interval.ratio}
    shared |= {"aa_low": same.interval.low, "aa_high": same.interval.high}
    shared |= {
        "aa_noisy": same.noisy,
        "aa_verdict": same.verdict,
        "rounds": len(times[again].rounds),
    }
    rows = []
    for one in own:
        against = _against("eager", EAGER, times, one.name, same) | _against(
            "best_fp32", best, times, one.name, same
        )
        rows.append(one.about | shared | summary(times[one.name].calls, batch) | against)
    return rows


def _against(
    title: str, other: str | None, times: Mapping[str, Times], name: str, same: SameAgainstSame
) -> Row:
    """The columns `ratio_to_...` with low and high, and `..._told`: a verdict in words.

    The verdict is faster, slower or cannot be told.
    """
    columns = [f"ratio_to_{title}{end}" for end in ("", "_low", "_high", "_told")]
    if other is None or other == name or other not in times:
        return dict.fromkeys(columns)
    ratio = ratio_interval(times[name].rounds, times[other].rounds)
    return dict(
        zip(columns, (ratio.ratio, ratio.low, ratio.high, told_apart(ratio, same)), strict=True)
    )

"""From runs to rows: race what there is at every number of threads and every batch; each result with its interval."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.latency import cell_title
from birds.latency.entries import EAGER, Entry, Runner, forget_compiled, started
from birds.latency.footprint import Footprint
from birds.latency.gpu import CUDA, on_gpu, plain_fp32
from birds.latency.host import Host, load_average, seconds_of_others, versions
from birds.latency.race import Contestant, Times, pinned, raced
from birds.latency.statistics import SameAgainstSame, ratio_interval, summary, told_apart
from birds.randomness import stream

AGAIN = " again"
OF_AN_ENTRY = ("backend", "precision", "baseline", "bytes", "test_accuracy", "test_macro_f1")

Say = Callable[[str], object]
Row = dict[str, Any]
Footprints = Mapping[tuple[str, str], Footprint]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is asked: photos a call, threads, rounds at least, and seconds that each cell (threads, batch) may take."""

    batches: tuple[int, ...] = (1, 8, 32)
    threads: tuple[int, ...] = (1,)
    rounds: int = 41
    seconds: float = 20.0


@dataclasses.dataclass(frozen=True)
class Cell:
    """Where and how one race is run."""

    device: str
    threads: int
    batch: int

    @property
    def title(self) -> str:
        """A few words for people."""
        return cell_title(self.device, self.threads, self.batch)


def cells_rows(
    runners: Sequence[Runner], plan: Plan, host: Host, footprints: Footprints, say: Say
) -> Iterator[list[Row]]:
    """The rows of each cell once it is raced: the CPU at all threads and batches, then the GPU if there is one."""
    shared = dataclasses.asdict(host) | {"machine": host.machine, "versions": versions()}
    for threads in plan.threads:
        for batch in plan.batches:
            yield _raced_rows(runners, Cell("cpu", threads, batch), plan, shared, footprints, say)
    if host.gpu is not None:
        moved = [on_gpu(one) for one in runners]
        for batch in plan.batches:
            with plain_fp32():
                yield _raced_rows(moved, Cell(CUDA, 1, batch), plan, shared, {}, say)


def _raced_rows(
    runners: Sequence[Runner], cell: Cell, plan: Plan, shared: Row, footprints: Footprints, say: Say
) -> list[Row]:
    """Start all models, race them, compare each with those of its run."""
    left_out: dict[str, dict[str, str]] = {one.folder.key: {} for one in runners}

    def give_up(entry: Entry, reason: str) -> None:
        left_out[entry.key][entry.name] = reason
        say(f"{cell.title}: {entry.name} of {entry.key} is left out: {reason}")

    forget_compiled()
    with pinned(cell.threads) as pinned_to:
        say(f"{cell.title}: starting, compiling")
        working = [pair for one in runners for pair in started(one, cell.threads, cell.batch, give_up)]
        contestants = [contestant for _, contestant in working] + twins(working)
        say(f"{cell.title}: racing {len(contestants)} contestants")
        state, times = _watched(contestants, cell, plan)
    rows = []
    for one in runners:
        key = one.folder.key
        own = {c.name: t for c, t in zip(contestants, times, strict=True) if c.group == key}
        known = one.row() | shared | state | {"pinned_to": pinned_to, "left_out": left_out[key]}
        entries = [entry for entry, _ in working if entry.key == key]
        rows += [known | row for row in compared(entries, own, cell, footprints)]
    return rows


def _watched(contestants: Sequence[Contestant], cell: Cell, plan: Plan) -> tuple[Row, list[Times]]:
    """Race, and what the machine was busy with meanwhile."""
    load, others, began = load_average(), seconds_of_others(), time.perf_counter()
    random = stream(0, "race", cell.threads, cell.batch)
    times = raced(contestants, threads=cell.threads, rounds=plan.rounds, seconds=plan.seconds, random=random)
    took, after = time.perf_counter() - began, seconds_of_others()
    lost = max(0.0, (after - others) / took) if after is not None and others is not None else None
    return {"load_before": load, "load_after": load_average(), "cores_of_others": lost, "time": time.time()}, times


def twins(working: Sequence[tuple[Entry, Contestant]]) -> list[Contestant]:
    """For each run, the model that is timed twice, under its second name: the first that is not fp32.

    Quick models are hurt most by noise. It is the same object in memory, so that the race is asked whether it is fair,
    not whether two loads of a file are alike.
    """
    chosen: dict[str, Contestant] = {}
    for entry, contestant in sorted(working, key=lambda pair: pair[0].baseline):
        chosen.setdefault(entry.key, contestant)
    return [dataclasses.replace(one, name=one.name + AGAIN) for one in chosen.values()]


def compared(entries: Sequence[Entry], times: Mapping[str, Times], cell: Cell, footprints: Footprints) -> list[Row]:
    """A row for each entry of one run, against eager and against the fp32 model with the smallest median.

    Ratios are of times: 0.2 is five times as fast. A ratio to itself, or to a baseline that did not run, is None.
    """
    if not entries:
        return []
    again = next(name for name in times if name.endswith(AGAIN))
    same = SameAgainstSame(ratio_interval(times[again].rounds, times[again.removesuffix(AGAIN)].rounds))
    fp32 = [entry.name for entry in entries if entry.baseline]
    best = min(fp32, key=lambda name: float(np.median(times[name].calls)), default=None)
    cell_columns = dataclasses.asdict(cell) | {"best_fp32": best, "aa_model": again.removesuffix(AGAIN)}
    cell_columns |= {"aa": same.interval.ratio, "aa_low": same.interval.low, "aa_high": same.interval.high}
    cell_columns |= {"aa_noisy": same.noisy, "aa_verdict": same.verdict}
    return [
        cell_columns
        | {"model": entry.name, "rounds": len(times[entry.name].rounds)}
        | {name: getattr(entry, name) for name in OF_AN_ENTRY}
        | dataclasses.asdict(summary(times[entry.name].calls, cell.batch))
        | _against("eager", EAGER, times, entry.name, same)
        | _against("best_fp32", best, times, entry.name, same)
        | dataclasses.asdict(footprints.get((entry.key, entry.name), Footprint()))
        for entry in entries
    ]


def _against(title: str, other: str | None, times: Mapping[str, Times], name: str, same: SameAgainstSame) -> Row:
    """The columns `ratio_to_...` with low and high, and `..._told`: faster, slower or cannot be told."""
    columns = [f"ratio_to_{title}{end}" for end in ("", "_low", "_high", "_told")]
    if other is None or other == name or other not in times:
        return dict.fromkeys(columns)
    ratio = ratio_interval(times[name].rounds, times[other].rounds)
    return dict(zip(columns, (ratio.ratio, ratio.low, ratio.high, told_apart(ratio, same)), strict=True))

"""`launch.until`: a sweep that stops early at planned interim analyses ("looks").

The requested seeds are the maximum. The lowest seeds run first. After each look, only the cells
whose comparisons are not yet precise enough get more seeds. The statistics decide what a look finds
and at how many seeds it happens; they belong to `analysis` and are passed in.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from birds.core.errors import UserError
from birds.launch.plan import Planned

Asked = tuple[Sequence[str], list[Planned]]  # a job's overrides and its runs
UNTIL = re.compile(r"(ci|gap)=(\d+(?:\.\d+)?)")


class Goal(NamedTuple):
    """When a comparison is precise enough: its interval is at most plus or minus `points`, or, with
    `gap`, it excludes 0.
    """

    points: float
    gap: bool


class Found(NamedTuple):
    """The result of a look: one line for each comparison, and the runs that need more seeds."""

    lines: tuple[str, ...]
    open_runs: frozenset[str]


class Looks(NamedTuple):
    """The planned numbers of seeds, and the function that analyses a sweep, given the runs folder,
    the sweep's name and the goal's points and gap.
    """

    numbers: tuple[int, ...]
    look: Callable[[Path, str, float, bool], Found]


def read_goal(until: str) -> Goal:
    """The goal of `launch.until`. Raises UserError for an invalid value."""
    found = UNTIL.fullmatch(until)
    if found is None or float(found[2]) == 0:
        raise UserError(
            f"launch.until={until}: choose ci=POINTS, as in launch.until='ci=3', or gap=POINTS, "
            "which also stops when an interval excludes 0"
        )
    return Goal(float(found[2]), found[1] == "gap")


def refuse_odd_looks(asked: Sequence[Asked], looks: Looks) -> None:
    """Raise UserError for a sweep that cannot use `launch.until`."""
    first = asked[0][1][0]
    assert first.launch.until is not None
    read_goal(first.launch.until)
    if first.average_over:
        raise UserError("launch.until is for sweeps over seeds, not for a search: leave it out")
    if not first.launch.wait:
        raise UserError("launch.until needs the finished runs: use launch.wait=true")
    seeds = _seeds(asked)
    if len(seeds) <= looks.numbers[0]:
        most = looks.numbers[-1]
        raise UserError(
            f"launch.until={first.launch.until}: {len(seeds)} seeds are too few, the first interim "
            f"analysis is at {looks.numbers[0]}; request the maximum number, as in "
            f"seed=range({most})"
        )


def rounds(
    asked: Sequence[Asked], numbers: Sequence[int], still_open: Callable[[int], Collection[str]]
) -> Iterator[list[Asked]]:
    """Yields the jobs of each round, with those of earlier rounds.

    The first round has the lowest seeds of all cells. Later rounds add seeds to the cells with a
    run that `still_open` returned.

    Args:
        asked: every job that may run.
        numbers: the numbers of seeds at which there is a look.
        still_open: returns, for a number of seeds, the keys of runs whose cells need more seeds.
    """
    seeds = _seeds(asked)
    counts = [number for number in numbers if number < len(seeds)] + [len(seeds)]
    cells = {_cell(words) for words, _ in asked}
    chosen: list[Asked] = []
    done = 0
    for count in counts:
        new_seeds = seeds[done:count]
        for words, job in asked:
            if job[0].spec.seed in new_seeds and _cell(words) in cells:
                chosen.append((words, job))
        yield list(chosen)
        done = count
        keys = still_open(count) if count < len(seeds) else ()
        cells = {_cell(words) for words, job in chosen if job[0].spec.key in keys}
        if not cells:
            return


def _seeds(asked: Sequence[Asked]) -> list[int]:
    return sorted({job[0].spec.seed for _, job in asked})


def _cell(words: Sequence[str]) -> frozenset[str]:
    """The overrides of a job without its seed."""
    return frozenset(word for word in words if not word.startswith("seed="))

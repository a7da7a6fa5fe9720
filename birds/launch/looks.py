"""`launch.until`: a sweep that stops at looks which were fixed in advance, when it knows enough.

The seeds that were asked for are the most there may be. The lowest of them run first; after each
look only the cells whose comparisons are not known well enough get more. What a look finds, and at
how many seeds there is one, is told by the statistics, which stand above this package: they are
handed in.
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
    """What is known well enough: an interval of `points` each way, or where `gap` says so already
    one that leaves out 0.
    """

    points: float
    gap: bool


class Found(NamedTuple):
    """What a look found: a line for each comparison, and the runs of those that need more seeds."""

    lines: tuple[str, ...]
    open_runs: frozenset[str]


class Looks(NamedTuple):
    """The predeclared numbers of seeds, and what looks at a sweep: its runs folder, its name, and
    the goal's points and gap.
    """

    numbers: tuple[int, ...]
    look: Callable[[Path, str, float, bool], Found]


def read_goal(until: str) -> Goal:
    """What `launch.until` asks for. Raises UserError for another word."""
    found = UNTIL.fullmatch(until)
    if found is None or float(found[2]) == 0:
        raise UserError(
            f"launch.until={until}: choose ci=POINTS, as in launch.until='ci=3', or gap=POINTS, "
            "which also stops where an interval leaves out 0"
        )
    return Goal(float(found[2]), found[1] == "gap")


def refuse_odd_looks(asked: Sequence[Asked], looks: Looks) -> None:
    """Raise UserError where a sweep cannot be looked at while it grows."""
    first = asked[0][1][0]
    assert first.launch.until is not None
    read_goal(first.launch.until)
    if first.average_over:
        raise UserError("launch.until is for sweeps over seeds: a search has trials; leave it out")
    if not first.launch.wait:
        raise UserError("launch.until looks at what is finished: leave launch.wait=true")
    seeds = _seeds(asked)
    if len(seeds) <= looks.numbers[0]:
        most = looks.numbers[-1]
        raise UserError(
            f"launch.until={first.launch.until}: {len(seeds)} seeds leave nothing to stop, the "
            f"first look is at {looks.numbers[0]}; ask for the most there may be, as in "
            f"seed=range({most})"
        )


def rounds(
    asked: Sequence[Asked], numbers: Sequence[int], still_open: Callable[[int], Collection[str]]
) -> Iterator[list[Asked]]:
    """The jobs of each round, those of earlier rounds included: the lowest seeds of all cells, then
    more seeds of the cells that `still_open` names a run of after the round.

    Args:
        asked: every job that may be done.
        numbers: at how many seeds there is a look.
        still_open: keys of runs that need more seeds beside them, given the number of seeds.
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
    """What a job asked for beside its seed."""
    return frozenset(word for word in words if not word.startswith("seed="))

"""`launch.until`: which seeds run before and after an interim analysis."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from birds.core.errors import UserError
from birds.launch.looks import Goal, read_goal, rounds


class Spec(NamedTuple):
    """The fields of a run's spec that are used: its key and its seed."""

    key: str
    seed: int


class Run(NamedTuple):
    """The fields of a planned run that are used."""

    spec: Spec


def asked(seeds: int) -> list[Any]:
    jobs = []
    for seed in reversed(range(seeds)):
        for variant in ("A", "B2", "DAE"):
            words = [f"variant={variant}", f"seed={seed}"]
            jobs.append((words, [Run(Spec(f"{variant}{seed}", seed))]))
    return jobs


def keys(jobs: list[Any]) -> list[str]:
    return sorted(job[0].spec.key for _, job in jobs)


def test_only_cells_that_are_open_get_more_seeds_and_the_lowest_come_first() -> None:
    looked = []

    def still_open(seeds: int) -> set[str]:
        looked.append(seeds)
        return {3: {"A0", "B21"}, 5: set()}[seeds]

    first, second = rounds(asked(8), (3, 5, 8, 13), still_open)
    assert keys(first) == sorted(f"{v}{s}" for v in ("A", "B2", "DAE") for s in range(3))
    assert keys(second) == sorted([*keys(first), "A3", "A4", "B23", "B24"])
    assert looked == [3, 5]


def test_seeds_beyond_the_last_look_run_in_the_end_and_nobody_looks_after_them() -> None:
    looked = []

    def always(seeds: int) -> set[str]:
        looked.append(seeds)
        return {"A0", "B20", "DAE0"}

    counts = [len(jobs) for jobs in rounds(asked(10), (3, 5, 8, 13), always)]
    assert counts == [9, 15, 24, 30]
    assert looked == [3, 5, 8]


def test_the_goal_is_a_width_or_a_gap_that_shows() -> None:
    assert read_goal("ci=3") == Goal(3.0, gap=False)
    assert read_goal("gap=2.5") == Goal(2.5, gap=True)
    for wrong in ("3", "ci=0", "ci=-1", "p=0.05", "ci=3 "):
        with pytest.raises(UserError, match=r"choose ci=POINTS"):
            read_goal(wrong)

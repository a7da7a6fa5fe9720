"""Chooses the next seeds of a sweep until its intervals are as narrow as wanted, with valid early
stopping.

If one stops when an interval looks good, ordinary intervals are wrong more often than 5 %. So a
growing sweep is analysed only at planned numbers of seeds ("looks"), and each look uses its share
of the 5 % (`stopping_half_width`). Seeds beyond the last look wait for the next one, and the lowest
seeds come first, so that nobody can choose which ones count.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.frame import asked_runs, command
from analysis.pairing import Pair, pairs
from analysis.statistics import LOOKS, Crossed, crossed, stopping_half_width
from analysis.verdicts import place
from birds.core.spec import UserError


def next_seeds(runs_dir: Path, sweep: str, points: float) -> str:
    """The state of each comparison; if some are not precise enough, the next seeds and the command.

    Args:
        points: the wanted half-width of the intervals in percentage points.

    Raises UserError if the sweep compares nothing.
    """
    found, looks, gaps = _looked_at(runs_dir, sweep)
    lines = [_line(pair, gap, points) for pair, gap in zip(found, gaps, strict=True)]
    behind = []
    for look, gap in zip(looks, gaps, strict=True):
        if gap is None or _width(gap) > points:
            behind.append(look)
    if not behind:
        lines.append(f"Done: every interval is within {points:g} points.")
    elif min(behind) == LOOKS[-1]:
        spent = f"{LOOKS[-1]} seeds are the maximum"
        lines.append(f"{spent}: only more test images can make the intervals narrower.")
    else:
        lines += _next_look(runs_dir, sweep, min(look for look in LOOKS if look > min(behind)))
    return "\n".join(lines)


def open_runs(
    runs_dir: Path, sweep: str, points: float, *, gap: bool = False
) -> tuple[tuple[str, ...], frozenset[str]]:
    """A line for each comparison, and the keys of the runs whose comparisons need more seeds.

    A comparison needs no more when its half-width is at most `points`, or, with `gap`, when its
    interval excludes 0. The interval is valid under every rule that stops at a look.

    Raises UserError if the sweep compares nothing.
    """
    found, _, gaps = _looked_at(runs_dir, sweep)
    lines = []
    keys: set[str] = set()
    for pair, crossed_gap in zip(found, gaps, strict=True):
        lines.append(_line(pair, crossed_gap, points))
        if crossed_gap is None or not is_enough(crossed_gap, points, gap=gap):
            keys.update(pair.keys)
    return tuple(lines), frozenset(keys)


def is_enough(found: Crossed, points: float, *, gap: bool) -> NDArray[np.bool_]:
    """Whether half-widths are at most `points`, or, with `gap`, intervals exclude 0; an array over
    the designs' leading axes.
    """
    width = 100 * stopping_half_width(found)
    within: NDArray[np.bool_] = np.asarray(width <= points)
    return within | (100 * np.abs(found.mean) > width) if gap else within


def _looked_at(runs_dir: Path, sweep: str) -> tuple[list[Pair], list[int], list[Crossed | None]]:
    """The comparisons of a sweep, the last look of each, and its gap at that look."""
    found = pairs(runs_dir, sweep)
    if not found:
        raise UserError(
            f"the sweep {sweep!r} has no two variants to compare: run two, as in variant=A,B2"
        )
    if any(pair.seeds and pair.correct.shape[2] < 2 for pair in found):
        raise UserError(
            f"the sweep {sweep!r} has a single test image: for an interval you need more test "
            "images, not more seeds"
        )
    looks = [_last_look(pair) for pair in found]
    gaps = [_gap(pair, look) for pair, look in zip(found, looks, strict=True)]
    return found, looks, gaps


def _last_look(pair: Pair) -> int:
    """The largest planned number of seeds that a comparison has; 0 before the first look."""
    return max((look for look in LOOKS if look <= len(pair.seeds)), default=0)


def _gap(pair: Pair, look: int) -> Crossed | None:
    """The gap over the lowest `look` seeds; None before the first look."""
    return crossed(np.subtract(*pair.correct)[:look]) if look else None


def _next_look(runs_dir: Path, sweep: str, goal: int) -> list[str]:
    """The missing seeds for a total of `goal`, and the command to run them."""
    asked = sorted(set(asked_runs(runs_dir, sweep)["seed"]))
    free = [seed for seed in range(goal + len(asked)) if seed not in asked]
    further = free[: max(goal - len(asked), 0)]
    seeds = f"Next: finish the {goal} requested seeds"
    if further:
        seeds = f"Next seeds: {', '.join(map(str, further))}"
    again = command(runs_dir, sweep, seeds=further)
    return [f"{seeds} (finished runs are not repeated)", again]


def _width(gap: Crossed) -> float:
    return 100 * float(stopping_half_width(gap))


def _line(pair: Pair, gap: Crossed | None, points: float) -> str:
    where = {
        name: value for name, value in pair.about.items() if name not in ("variant", "against")
    }
    against = f"{pair.about['against']} ({pair.other})" if pair.other else pair.about["against"]
    title = f"{pair.about['variant']} against {against} at {place(where)}"
    if gap is None:
        return f"{title}: {len(pair.seeds)} finished seeds; the first analysis is at {LOOKS[0]}"
    later = {look: _width(gap.with_seeds(look)) for look in LOOKS if look > gap.seeds}
    enough = [look for look, width in later.items() if width <= points]
    if _width(gap) <= points or not later:
        expected = ""
    elif enough:
        expected = f"; {enough[0]} seeds should be enough"
    else:
        most = f"{LOOKS[-1]} seeds should give ± {later[LOOKS[-1]]:.1f}"
        expected = f"; {most}, a narrower interval needs more test images"
    reached = f"{100 * float(gap.mean):+.1f} ± {_width(gap):.1f} points at {gap.seeds} seeds"
    return f"{title}: {reached}{expected}"

"""Which seeds to run next until every comparison of a sweep is as narrow as wanted, by looks that
may stop it.

Stopping when an interval looks good makes an ordinary one wrong more often than it says. So a
growing sweep is looked at with a predeclared number of seeds only, and each look spends its share
of the 5 % (`stopping_half_width`). Seeds beyond the last look wait for the next one, and the lowest
seeds come first, so nobody chooses which ones count.
"""

from pathlib import Path

import numpy as np

from analysis.comparisons import Pair, pairs, place
from analysis.frame import asked_runs, command
from analysis.statistics import LOOKS, Crossed, crossed, stopping_half_width
from birds.core.spec import UserError


def next_seeds(runs_dir: Path, sweep: str, points: float) -> str:
    """What is known of each comparison and whether it is done; if not, the further seeds and the
    command for them.

    Args:
        points: half the width of the intervals to reach.

    Raises UserError where the sweep compares nothing.
    """
    found = pairs(runs_dir, sweep)
    if not found:
        raise UserError(
            f"the sweep {sweep!r} compares no two variants: ask for two, as in variant=A,B2"
        )
    if any(pair.seeds and pair.correct.shape[2] < 2 for pair in found):
        raise UserError(
            f"the sweep {sweep!r} has a single test photo: no number of seeds gives an interval, "
            "more test photos do"
        )
    looks = [max((look for look in LOOKS if look <= len(pair.seeds)), default=0) for pair in found]
    gaps = [
        crossed(np.subtract(*pair.correct)[:look]) if look else None
        for pair, look in zip(found, looks, strict=True)
    ]
    lines = [_line(pair, gap, points) for pair, gap in zip(found, gaps, strict=True)]
    behind = [
        look for look, gap in zip(looks, gaps, strict=True) if gap is None or _width(gap) > points
    ]
    if not behind:
        return "\n".join([*lines, f"Done: every interval is within {points:g} points."])
    if min(behind) == LOOKS[-1]:
        return "\n".join(
            [
                *lines,
                f"All looks are spent at {LOOKS[-1]} seeds: more test photos are what is left.",
            ]
        )
    goal = min(look for look in LOOKS if look > min(behind))
    asked = sorted(set(asked_runs(runs_dir, sweep)["seed"]))
    free = [seed for seed in range(goal + len(asked)) if seed not in asked]
    further = free[: max(goal - len(asked), 0)]
    seeds = (
        f"Next seeds: {', '.join(map(str, further))}"
        if further
        else f"Next: finish the {goal} seeds asked for"
    )
    return "\n".join(
        [
            *lines,
            f"{seeds} (what is finished is not run again)",
            command(runs_dir, sweep, seeds=further),
        ]
    )


def _width(gap: Crossed) -> float:
    return 100 * float(stopping_half_width(gap))


def _line(pair: Pair, gap: Crossed | None, points: float) -> str:
    where = {
        name: value for name, value in pair.about.items() if name not in ("variant", "against")
    }
    title = f"{pair.about['variant']} against {pair.about['against']} at {place(where)}"
    if gap is None:
        return f"{title}: seeds finished: {len(pair.seeds)}, the first look is at {LOOKS[0]}"
    later = {look: _width(gap.with_seeds(look)) for look in LOOKS if look > gap.seeds}
    enough = [look for look, width in later.items() if width <= points]
    if _width(gap) <= points or not later:
        expected = ""
    elif enough:
        expected = f"; {enough[0]} seeds should do"
    else:
        expected = f"; {LOOKS[-1]} seeds should give ± {later[LOOKS[-1]]:.1f}, for less there are too few test photos"
    return f"{title}: {100 * float(gap.mean):+.1f} ± {_width(gap):.1f} points at {gap.seeds} seeds{expected}"

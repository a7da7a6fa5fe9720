"""Answers from fitted learning curves: how many labels are needed, and how many a method saves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import save
from analysis.learning_curves import Curve, Floats, LabelSweep, Points, interval
from analysis.markdown import markdown
from analysis.palette import dot, legend, line, look, panels
from analysis.variants import REFERENCE
from birds.core.spec import UserError
from birds.core.store import write_text

FORETOLD_FROM = 10.0  # labels per class up to which the curve is fitted when it is checked
STEPS = 60  # of a drawn curve


def answers(found: LabelSweep, reach: float | None, out: Path) -> str:
    """The table, the answers and a check of the curve, as text; also writes text and figure to
    `out`.

    Args:
        found: the measurements of the sweep.
        reach: the accuracy to reach in per cent, if any.

    Raises UserError if `reach` is not a percentage, or if too few numbers of labels were measured.
    """
    if reach is not None and not 0 < reach < 100:
        raise UserError(f"--reach {reach:g}: choose a percentage above 0 and below 100")
    curves = {own.method: own.fit() for own in found.points}
    parts = [_table(found), _chance(found)]
    if reach is not None:
        words = [_reached(own, *curves[own.method], found, reach / 100) for own in found.points]
        parts.append("\n".join(words))
    parts += [_worth(found, curves), _foretold(found)]
    out.mkdir(parents=True, exist_ok=True)
    text = "\n\n".join(part for part in parts if part)
    save(_figure(found, curves, reach), out / "labels", ("png", "svg"))
    write_text(out / "labels.md", text + "\n")
    return text


def _table(found: LabelSweep) -> str:
    counts = sorted({float(count) for own in found.points for count in own.counts})
    rows = []
    for count in counts:
        cells = [f"{count:g}"]
        for own in found.points:
            at = np.flatnonzero(own.counts == count)
            shown = ""
            if len(at):
                mean, half = own.mean[at[0]], own.half_width[at[0]]
                shown = f"{100 * mean:.1f} ± {100 * half:.1f}"
            cells.append(shown)
        rows.append(cells)
    return markdown(["labels per class", *(own.method for own in found.points)], rows)


def _chance(found: LabelSweep) -> str:
    seeds = f"{len(found.seeds)} seeds" if len(found.seeds) > 1 else "one seed"
    words = f"Accuracy % with 95 % intervals, {seeds} crossed with {found.images} test images."
    if len(found.seeds) == 1:
        words += " With one seed the intervals do not cover other splits."
    if found.missing:
        words += f" Not finished or rejected: {len(found.missing)} runs."
    return words


def _number(labels: float) -> str:
    return f"{labels:.1f}" if labels < 10 else f"{labels:.0f}"


def _upto(labels: float, limit: float) -> str:
    return f"more than {limit:.0f}" if labels > limit else _number(labels)


def _reached(own: Points, curve: Curve, draws: Curve, found: LabelSweep, goal: float) -> str:
    """A sentence on the number of labels per class with which one method reaches an accuracy."""
    labels = float(curve.labels_for(goal)[0])
    low, high = interval(draws.labels_for(goal))
    asked = f"{own.method} reaches {100 * goal:g} %"
    if labels > found.limit:
        there = float(curve.at(found.limit)[0])
        ends = interval(draws.at(found.limit))
        return (
            f"{own.method} does not reach {100 * goal:g} % with {found.limit:.0f} labels per "
            f"class, four times the measured number: the expected accuracy is {100 * there:.1f} "
            f"% [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]."
        )
    if labels < own.counts.min():
        return f"{asked} with fewer labels than were measured ({own.counts.min():g} per class)."
    beyond = " (beyond the measured range)" if labels > own.counts.max() else ""
    return (
        f"{asked} with about {_number(labels)} labels per class [{_number(low)}, "
        f"{_upto(high, found.limit)}], {labels * found.classes:.0f} in total{beyond}."
    )


def _worth(found: LabelSweep, curves: dict[str, tuple[Curve, Curve]]) -> str:
    """How many times its labels the first method needs to match each other method."""
    names = [own.method for own in found.points]
    first = next((name for name in names if name.split()[0] == REFERENCE), names[0])
    lines = []
    for own in found.points:
        if own.method != first:
            lines.append(_worth_line(own, first, curves, found))
    return "\n".join(lines)


def _worth_line(
    own: Points, first: str, curves: dict[str, tuple[Curve, Curve]], found: LabelSweep
) -> str:
    reference, drawn_reference = curves[first]
    mine, drawn = curves[own.method]
    needed = reference.labels_for(mine.at(own.counts)[0])
    told = own.counts[needed <= found.limit]
    if not len(told):
        return (
            f"{own.method}: {first} does not reach its accuracy with {found.limit:.0f} labels per "
            "class, so the two cannot be compared in labels."
        )
    factor = _factor(mine, reference, told, found.limit)
    ends = interval(_factor(drawn, drawn_reference, told, found.limit))
    less = len(own.counts) - len(told)
    left_out = f"; at {less} more numbers of labels {first} does not reach it" if less else ""
    by_count = []
    for count in (told[0], told[-1]):
        here = np.array([count])
        value = float(_factor(mine, reference, here, found.limit)[0])
        low, high = interval(_factor(drawn, drawn_reference, here, found.limit))
        by_count.append(f"{value:.1f} at {count:g} [{low:.1f}, {high:.1f}]")
    return (
        f"To match {own.method}, {first} needs {float(factor[0]):.1f} times as many labels "
        f"[{ends[0]:.1f}, {ends[1]:.1f}], on average over {told[0]:g} to {told[-1]:g} labels per "
        f"class ({', '.join(by_count)}){left_out}."
    )


def _factor(mine: Curve, reference: Curve, counts: Floats, limit: float) -> Floats:
    """The geometric mean, over counts, of the ratio of labels that the reference needs."""
    values = mine.at(counts)
    columns = [reference.labels_for(values[:, k]) for k in range(len(counts))]
    needed = np.minimum(np.stack(columns, axis=1), limit)
    factors: Floats = np.exp(np.log(np.maximum(needed, 1e-9) / counts).mean(1))
    return factors


def _foretold(found: LabelSweep) -> str:
    """How well a curve that was fitted on few labels predicts the accuracy with more labels."""
    lines = []
    for own in found.points:
        later = np.flatnonzero(own.counts >= 2 * FORETOLD_FROM)
        if (own.counts <= FORETOLD_FROM).sum() < 3 or not len(later):
            continue
        curve, draws = own.fit(FORETOLD_FROM)
        words = []
        for k in later:
            count = float(own.counts[k])
            said = float(curve.at(count)[0])
            low, high = interval(draws.at(count) - own.draws[:, k])
            holds = "consistent" if low <= 0 <= high else "not consistent"
            words.append(
                f"{100 * said:.1f} % at {count:g} (measured {100 * own.mean[k]:.1f}; error "
                f"{100 * (said - own.mean[k]):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}], {holds})"
            )
        lines.append(f"{own.method}: {', '.join(words)}.")
    if not lines:
        return ""
    return (
        f"Fitted on up to {FORETOLD_FROM:g} labels per class, the curve predicted:\n"
        + "\n".join(lines)
    )


def _figure(
    found: LabelSweep, curves: dict[str, tuple[Curve, Curve]], reach: float | None
) -> Figure:
    figure, rows = panels(1, 1, 6.4, 4.2)
    axis = rows[0][0]
    for own in found.points:
        _draw(axis, own, *curves[own.method], limit=found.limit)
    if reach is not None:
        axis.axhline(reach, color="0.4", linewidth=0.8, linestyle=":")
    axis.set_xscale("log")
    ticks = sorted({float(count) for own in found.points for count in own.counts} | {found.limit})
    axis.set_xticks(_apart(ticks), [f"{tick:g}" for tick in _apart(ticks)])
    axis.minorticks_off()
    axis.set_xlabel("labels per class")
    axis.set_ylabel("accuracy, % (95 % intervals)")
    axis.set_title("Dots: measured. Lines: fit of a - b n^-c, dashed beyond the measured range")
    legend(figure, [axis])
    return figure


def _apart(ticks: Sequence[float]) -> list[float]:
    """The ticks that fit next to each other on a logarithmic axis."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick / kept[-1] > 1.25:
            kept.append(tick)
    return kept


def _draw(axis: Axes, own: Points, curve: Curve, draws: Curve, *, limit: float) -> None:
    name = own.method.split()[0]
    colour = look(name).colour
    most, least = float(own.counts.max()), float(own.counts.min())
    for start, end, style in ((least, most, "-"), (most, min(limit, 4 * most), "--")):
        n = np.geomspace(start, end, STEPS)
        low, high = np.quantile(draws.at(n), (0.025, 0.975), axis=0)
        axis.fill_between(n, 100 * low, 100 * high, color=colour, alpha=0.12, linewidth=0)
        axis.plot(n, 100 * curve.at(n)[0], color=colour, linestyle=style, **line(1.2))
    axis.errorbar(
        own.counts,
        100 * own.mean,
        100 * own.half_width,
        linestyle="none",
        label=own.method,
        ecolor=colour,
        **dot(name, 5.5),
    )

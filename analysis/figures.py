"""The figures of a sweep, from its records alone: `FIGURES` lists them, `birds figures SWEEP` draws
those that have records.

The figures here compare the cells of a sweep (split, variant and other swept choices); figures of
single runs are in `analysis.closeups`. A figure without records raises UserError with the command
to run. Equal records give files with equal bytes: no dates, no versions, fixed ids.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import closeups, study_figures
from analysis.cells import cells as cells
from analysis.comparisons import compare_sweep
from analysis.drawing import FORMATS, draw_all
from analysis.drawing import save as save
from analysis.frame import short, sweep_frame
from analysis.palette import FAINT, RIM, dot, explain, legend, line, look, named, panels
from analysis.reading import reading_once
from analysis.tuned import tuned_figure
from analysis.variants import REFERENCE
from analysis.verdicts import opponent, p_words
from birds.core import letters
from birds.core.spec import UserError

MARKS = "large marks: means; bars: 95 % intervals; circles: single seeds"
CHANCE = "dotted line: chance"
GAPS = "bars: 95 % intervals; filled marks: shown, p at most 0.05 after Holm's correction"
BANDS = "lines: means; bands: from the lowest to the highest seed"
BARS = "bars: 95 % intervals"
DASHES = ("-", "--", ":", "-.")


def results_figure(table: pd.DataFrame, runs: pd.DataFrame, metric: str = "accuracy") -> Figure:
    """One panel per split: the mean of every cell with its 95 % interval, and single seeds as small
    circles.
    """
    splits, names = sorted(table["split"].unique()), list(dict.fromkeys(table["cell"]))
    figure, axes = panels(
        1, len(splits), 2.8 + 3 * len(splits), 1.5 + 0.36 * len(names), sharex=True, sharey=True
    )
    for axis, split in zip(axes[0], splits, strict=True):
        for row in table[table["split"] == split].to_dict("records"):
            y = names.index(row["cell"])
            seeds = 100 * runs.loc[runs["family"] == row["family"], f"test_{metric}"]
            axis.plot(
                [100 * row[f"{metric}_low"], 100 * row[f"{metric}_high"]],
                [y, y],
                color=RIM,
                linewidth=1.3,
            )
            axis.plot(seeds, [y + 0.28] * len(seeds), "o", ms=3.2, mfc="none", mec="0.4", mew=0.7)
            axis.plot(100 * row[metric], y, **dot(row["variant"]))
        if metric == "accuracy":
            axis.axvline(
                100 / len(runs["classes"].iloc[0]), color="0.5", linestyle=":", linewidth=1
            )
        labelled = table.loc[table["split"] == split, "labelled"].iloc[0]
        axis.set(title=f"{split}/{100 - split}: {labelled} labelled images")
        axis.set_xlabel(f"test {metric.replace('_f1', ' F1')}, %")
        axis.set(yticks=range(len(names)), yticklabels=[named(name) for name in names])
        axis.set_ylim(len(names) - 0.4, -0.6)
    explain(figure, MARKS + (f"; {CHANCE}" if metric == "accuracy" else ""))
    return figure


def differences_figure(comparisons: pd.DataFrame) -> Figure:
    """A forest plot of the paired differences with their intervals; grey marks the differences that
    are too small for this sweep.

    Marks are filled if Holm's p value is at most 0.05.
    """
    swept = list(comparisons.columns)[3 : list(comparisons.columns).index("seeds")]
    variants = list(dict.fromkeys([*comparisons["variant"], *comparisons["against"]]))
    figure, [[axis]] = panels(1, 1, 6.6, 1.6 + 0.34 * len(comparisons) + 0.2 * len(variants) / 3)
    names = []
    for y, row in enumerate(comparisons.to_dict("records")):
        choices = " ".join(f"{short(name)}={row[name]}" for name in swept if row[name])
        also = letters.label(choices)
        cut = f"{row['split']}/{100 - row['split']}"
        names.append(f"{row['variant']} against {opponent(row)}  {cut} {also}".strip())
        axis.barh(
            y,
            200 * row["shown_from"],
            left=-100 * row["shown_from"],
            height=0.7,
            color=FAINT,
            zorder=0,
        )
        axis.plot([100 * row["low"], 100 * row["high"]], [y, y], color=RIM, linewidth=1.3, zorder=2)
        mark = dot(row["variant"]) | ({} if row["p_holm"] <= 0.05 else {"mfc": "white"})
        axis.plot(100 * row["gap"], y, **mark)
        p = "one seed" if row["seeds"] < 2 else f"p {p_words(row['p_holm'], '= ')}"
        axis.annotate(p, (1.01, y), xycoords=("axes fraction", "data"), fontsize=8, va="center")
    axis.axvline(0, color="0.3", linewidth=0.8)
    axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    axis.set_xlabel(
        "difference in test accuracy, percentage points\n(grey: too small for this sweep to show)"
    )
    for name in variants:
        axis.plot([], [], linestyle="none", label=named(name), **dot(name, 6))
    legend(figure, [axis])
    explain(figure, GAPS)
    return figure


def robustness_figure(table: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """One panel per split: accuracy against salt and pepper on the test images, with the range of
    seeds shaded.
    """
    splits = sorted(table["split"].unique())
    figure, axes = panels(1, len(splits), 0.8 + 3.4 * len(splits), 3.4, sharex=True, sharey=True)
    for axis, split in zip(axes[0], splits, strict=True):
        here = table[table["split"] == split]
        for row, rank in zip(
            here.to_dict("records"), here.groupby("variant").cumcount(), strict=True
        ):
            own = runs[runs["family"] == row["family"]]
            noise = 100 * np.array(own["test_noise"].iloc[0])
            reached = 100 * np.array(own["test_accuracy_noise"].tolist())
            axis.fill_between(
                noise, reached.min(0), reached.max(0), color=look(row["variant"]).colour, alpha=0.15
            )
            style = {**line(), **dot(row["variant"], 5.5), "label": named(row["cell"])}
            axis.plot(noise, reached.mean(0), linestyle=DASHES[rank % len(DASHES)], **style)
        axis.set(title=f"{split}/{100 - split}", xlabel="pixels replaced in test images, %")
    axes[0][0].set_ylabel("test accuracy, %")
    legend(figure, axes[0])
    explain(figure, BANDS)
    return figure


def noise_figure(table: pd.DataFrame) -> Figure:
    """Accuracy on clean test images against the noise in pretraining, with 95 % intervals."""
    figure, [[axis]] = panels(1, 1, 5.2, 3.4)
    for (split, variant), own in table.assign(x=100 * table["noise"].astype(float)).groupby(
        ["split", "variant"]
    ):
        own = own.sort_values("x")
        axis.vlines(
            own["x"],
            100 * own["accuracy_low"],
            100 * own["accuracy_high"],
            color=RIM,
            linewidth=1.2,
        )
        label = f"{named(variant)} {split}/{100 - split}"
        axis.plot(own["x"], 100 * own["accuracy"], label=label, **line(), **dot(variant, 5.5))
    axis.set(xlabel="pixels replaced in pretraining, %", ylabel="test accuracy, %")
    legend(figure, [axis], columns=2)
    explain(figure, BARS)
    return figure


def cost_figure(table: pd.DataFrame) -> Figure:
    """Minutes of training of each cell, after those of its shared pretraining in light grey."""
    names = [
        f"{named(cell)}  {split}/{100 - split}"
        for cell, split in zip(table["cell"], table["split"], strict=True)
    ]
    figure, [[axis]] = panels(1, 1, 7, max(1.6, 0.8 + 0.28 * len(names)))
    for y, row in enumerate(table.to_dict("records")):
        before, style = row["pretraining_seconds"] / 60, look(row["variant"])
        axis.barh(y, before, color=FAINT, edgecolor=RIM)
        axis.barh(
            y,
            row["train_seconds"] / 60,
            left=before,
            color=style.colour,
            hatch=style.hatch,
            edgecolor=RIM,
        )
    axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    axis.set_xlabel("minutes of training (light grey: pretraining, shared)")
    return figure


def _results(runs_dir: Path, sweep: str, metric: str) -> Figure:
    return results_figure(*cells(runs_dir, sweep), metric)


def _differences(runs_dir: Path, sweep: str) -> Figure:
    comparisons = compare_sweep(runs_dir, sweep)
    if comparisons.empty or comparisons["gap"].isna().all():
        again = f"run: {comparisons['run'].iloc[0]}" if len(comparisons) else "make sweep-exp1"
        raise UserError(f"no variant can be compared with a finished {REFERENCE}; {again}")
    return differences_figure(comparisons.dropna(subset=["gap"]))


def _robustness(runs_dir: Path, sweep: str) -> Figure:
    table, runs = cells(runs_dir, sweep)
    if "test_accuracy_noise" not in runs or runs["test_accuracy_noise"].isna().all():
        raise UserError("no run was tested under noise")
    runs = runs.dropna(subset=["test_accuracy_noise"])
    return robustness_figure(table[table["family"].isin(runs["family"])], runs)


def _noise(runs_dir: Path, sweep: str) -> Figure:
    table, _ = cells(runs_dir, sweep)
    if "noise" not in table or not table["noise"].astype(bool).all():
        raise UserError(
            "this sweep did not vary noise; run make sweep-noise && birds figures noise"
        )
    return noise_figure(table)


def _pareto(runs_dir: Path, sweep: str) -> Figure:
    from analysis.latency import latency_table
    from analysis.pareto import pareto_figure

    rows = latency_table(runs_dir)
    rows = rows[rows["key"].isin(sweep_frame(runs_dir, sweep)[0]["key"])]
    if rows.empty:
        raise UserError(
            f"no model of this sweep was timed; run birds quantize {sweep} && birds latency {sweep}"
        )
    return pareto_figure(rows[rows["machine"] == rows["machine"].iloc[0]])


FIGURES: dict[str, Callable[[Path, str], Figure]] = {
    "accuracy": partial(_results, metric="accuracy"),
    "macro_f1": partial(_results, metric="macro_f1"),
    "differences": _differences,
    "robustness": _robustness,
    "noise": _noise,
    "cost": lambda runs_dir, sweep: cost_figure(cells(runs_dir, sweep)[0]),
    "pareto": _pareto,
    **closeups.FIGURES,
    **study_figures.STUDY_FIGURES,
    "tuned": tuned_figure,
}


def write_figures(runs_dir: Path, sweep: str, out: Path | None = None) -> dict[str, str]:
    """Write every figure that has records into `out` (default: `RUNS_DIR/figures/SWEEP`).

    Returns the reason for each figure that could not be drawn, by name. Raises UserError if the
    sweep does not exist.
    """
    folder = out or runs_dir / "figures" / sweep
    with reading_once():
        table, _ = cells(runs_dir, sweep)  # raises errors of the sweep itself, once
        warning = table.attrs.get("meaningless", "")
        folder.mkdir(parents=True, exist_ok=True)
        draw = partial(_write, runs_dir, sweep, folder, warning)
        reasons = dict(zip(FIGURES, draw_all(draw, list(FIGURES)), strict=True))
    missing = {name: reason for name, reason in reasons.items() if reason}
    print(f"Written: {len(FIGURES) - len(missing)} figures as {', '.join(FORMATS)} in {folder}")
    for why in dict.fromkeys(missing.values()):
        names = ", ".join(name for name, reason in missing.items() if reason == why)
        print(f"Not drawn: {names}: {why}")
    return missing


def _write(runs_dir: Path, sweep: str, folder: Path, warning: str, name: str) -> str:
    """Write one figure; returns the reason if it cannot be drawn, else an empty text."""
    try:
        figure = FIGURES[name](runs_dir, sweep)
        if warning:
            explain(figure, warning)
        save(figure, folder / name)
    except UserError as refusal:
        return str(refusal)
    return ""

"""Training curves of a sweep's runs: one line per run, or, with several seeds, their median with a
band from the lowest to the highest.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from analysis.palette import RIM, dot, explain, legend, line, look, named, panels

SEVERAL = 3  # number of seeds from which on a band is drawn
LINES = "one line per run; large marks: the kept epoch; vertical bars: stopped early"
BANDS = "lines: medians of seeds; bands: lowest to highest; large marks: the kept epochs"


def curves_figure(epochs: pd.DataFrame, measured: dict[str, str]) -> Figure:
    """One column of panels per split, one row per measured column.

    The large mark is the epoch whose weights were kept. A vertical bar marks a training that
    stopped early.

    Args:
        epochs: one row for each epoch of every run, from `closeups.curves`.
        measured: the columns to draw, with their titles.
    """
    splits = sorted(epochs["split"].unique())
    size = (0.8 + 3.4 * len(splits), 1.2 + 2.2 * len(measured))
    figure, axes = panels(len(measured), len(splits), *size, sharex=True, sharey="row")
    seeds = epochs.groupby("family")["key"].nunique()
    is_banded = int(seeds.max()) >= SEVERAL
    for row, (column, title) in zip(axes, measured.items(), strict=True):
        row[0].set_ylabel(title)
        for axis, split in zip(row, splits, strict=True):
            here = epochs[epochs["split"] == split]
            for _, cell in here.groupby("family", sort=False):
                _curves_of_a_cell(axis, cell, column)
            axis.set_title(f"{split}/{100 - split}" if row is axes[0] else "")
            axis.set_xlabel("epoch" if row is axes[-1] else "")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, [axis for row in axes for axis in row])
    explain(figure, BANDS if is_banded else LINES)
    return figure


class _Plain(LogFormatter):
    """Labels the ticks of a logarithmic axis with plain numbers: 0.05 in place of a power."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _curves_of_a_cell(axis: Axes, cell: pd.DataFrame, column: str) -> None:
    if column not in cell or cell[column].isna().all():
        return
    if column == "valid_loss":
        axis.set_yscale("log")
        plain = _Plain(labelOnlyBase=False, minor_thresholds=(2, 0.4))
        axis.yaxis.set_major_formatter(plain)
        axis.yaxis.set_minor_formatter(plain)
    if cell["key"].nunique() >= SEVERAL:
        _band(axis, cell, column)
        return
    for _, run in cell.groupby("key", sort=False):
        _one_curve(axis, run, column)


def _scale(column: str) -> float:
    """Accuracies are drawn in per cent."""
    return 100.0 if column.endswith("accuracy") else 1.0


def _band(axis: Axes, cell: pd.DataFrame, column: str) -> None:
    """Draw the median and the range of the seeds, and mark the kept epochs."""
    variant = str(cell["variant"].iloc[0])
    by_epoch = (_scale(column) * cell[column]).groupby(cell["epoch"] + 1)
    low, middle, high = by_epoch.min(), by_epoch.median(), by_epoch.max()
    colour = look(variant).colour
    axis.fill_between(middle.index, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.plot(middle.index, middle, color=colour, label=named(variant), **line(1.4))
    if column == "valid_loss":
        training = cell["train_loss"].groupby(cell["epoch"] + 1).median()
        axis.plot(training.index, training, color=colour, linewidth=0.8, linestyle=":")
    kept = cell.loc[cell["epoch"] == cell["best_epoch"], "epoch"].unique() + 1
    axis.plot(kept, middle.reindex(kept), linestyle="none", **dot(variant, 6))


def _one_curve(axis: Axes, run: pd.DataFrame, column: str) -> None:
    variant, x = str(run["variant"].iloc[0]), run["epoch"] + 1
    y = _scale(column) * run[column]
    style = {**line(1.2), **dot(variant, 3.5), "label": named(variant)}
    axis.plot(x, y, markevery=max(1, len(run) // 6), **style)
    if column == "valid_loss":
        axis.plot(x, run["train_loss"], color=look(variant).colour, linewidth=0.8, linestyle=":")
    is_kept = run["epoch"] == run["best_epoch"]
    axis.plot(x[is_kept], y[is_kept], **dot(variant, 8))
    if len(run) < run["epochs_asked"].iloc[0]:
        axis.plot(x.iloc[-1:], y.iloc[-1:], "|", color=RIM, ms=12, mew=1.6)

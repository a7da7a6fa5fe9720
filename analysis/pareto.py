"""The Pareto figure of one machine: accuracy against latency and size; it is readable without
colours.

Models differ in marker, in filling (fp32 is hollow), and in colour. Runs are labelled with text.
The dashed line connects the models that no other model beats in both.
"""

import itertools

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from analysis.intervals import wilson as wilson
from analysis.latency import CELL, cell_title
from analysis.palette import OKABE_ITO, panels
from birds.core.spec import UserError

MARKERS = "osD^vPX*<>"
COLOURS = OKABE_ITO[:7]  # yellow is too light for a hollow marker


def pareto_figure(rows: pd.DataFrame) -> Figure:
    """Accuracy against latency and against size, for one machine's models at its smallest batch and
    number of threads.

    Models with unknown accuracy or size are left out. Raises UserError if none is left.
    """
    known = rows.dropna(subset=["test_accuracy", "bytes"])
    if known.empty:
        raise UserError(
            "the accuracy of the timed models is unknown; "
            "run birds quantize SWEEP && birds latency SWEEP"
        )
    cell = known.sort_values(CELL, kind="stable").iloc[0]
    shown = known[(known[CELL] == cell[CELL]).all(axis=1)]
    shown = shown.assign(megabytes=shown["bytes"] / 1e6, percent=100 * shown["test_accuracy"])
    figure, [[left, right]] = panels(1, 2, 10, 4.4, sharey=True)
    _panel(left, shown, "median_ms", f"median latency, ms ({cell_title(*cell[CELL])})")
    _panel(right, shown, "megabytes", "size on disk, MB")
    left.set_ylabel("test accuracy, %")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(
        f"{cell['cpu']} (machine {cell['machine']}); bars: 95 % over test images", fontsize=10
    )
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, column: str, title: str) -> None:
    """Accuracy against one column, with the same style for each model in all panels, fp32 first."""
    x, y = rows[column].to_numpy(float), rows["percent"].to_numpy(float)
    shares = zip(rows["test_accuracy"], rows["images_test"], strict=True)
    low, high = 100 * np.array([wilson(share, int(count)) for share, count in shares]).T
    axes.errorbar(x, y, yerr=[y - low, high - y], fmt="none", ecolor="0.75", elinewidth=1, zorder=1)
    models = rows.sort_values(["baseline", "model"], ascending=[False, True]).groupby(
        "model", sort=False
    )
    for (model, own), marker, colour in zip(
        models, itertools.cycle(MARKERS), itertools.cycle(COLOURS), strict=False
    ):
        fill, label = "white" if own["baseline"].iloc[0] else colour, str(model)
        axes.plot(
            own[column],
            own["percent"],
            marker,
            mfc=fill,
            mec=colour,
            mew=1.6,
            ms=8,
            label=label,
            zorder=3,
        )
    _scale(axes, x, title)
    front, edge = pareto(x, y), axes.get_xlim()[1]
    axes.step(
        [*x[front], edge],
        [*y[front], y[front[-1]]],
        "--",
        where="post",
        color="0.35",
        linewidth=1,
        zorder=2,
    )
    _label_runs(axes, rows, column)


def _scale(axes: Axes, x: NDArray[np.float64], title: str) -> None:
    """A logarithmic axis in plain numbers, with room for labels on the right."""
    axes.set(
        xscale="log",
        xlim=(x.min() / 1.4, x.max() * 1.4 * (x.max() / x.min()) ** 0.25),
        xlabel=title,
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")


def _label_runs(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    """Write the name of each run above its rightmost point, moved up to avoid overlaps; it ends at
    the point, so that it stays inside the axes.
    """
    ends = rows.sort_values(column).drop_duplicates("run", keep="last").sort_values("percent")
    gap, floor = 0.05 * float(np.ptp(axes.get_ylim())), -np.inf
    for run, x, y in zip(ends["run"], ends[column], ends["percent"], strict=True):
        floor = max(y, floor + gap)
        axes.annotate(run, (x, floor), (12, 8), textcoords="offset points", ha="right", fontsize=8)


def pareto(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
    """The points that no other point beats in both (less x and more y), sorted by x."""
    order: NDArray[np.int64] = np.lexsort((-y, x))
    best_before = np.maximum.accumulate(np.append(-np.inf, y[order]))[:-1]
    return order[y[order] > best_before]

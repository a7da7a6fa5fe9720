"""The Pareto picture of one machine: accuracy against latency and size, readable in grey and by the colour-blind.

Models differ in marker and in whether it is filled (fp32 is hollow), and then in colour (Okabe and Ito's palette, whose
members differ in lightness as well). A run is a label and not a colour. The dashed line steps along the models that no
other one beats in both.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.latency import CELL, cell_title
from birds.store import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = [("o", "#000000"), ("s", "#0072B2"), ("D", "#009E73"), ("^", "#D55E00"), ("v", "#56B4E9"), ("P", "#CC79A7")]
LOOKS += [("X", "#E69F00"), ("*", "#000000"), ("<", "#0072B2"), (">", "#D55E00")]
FORMATS = ("png", "svg")


def save_pareto(rows: pd.DataFrame, path: Path) -> list[Path]:
    """Draw one machine's models, at its smallest batch and number of threads, into `path`.png and .svg; returns both.

    Models whose accuracy or size is not known are left out; nothing is written when that is all of them.
    """
    from matplotlib.figure import Figure

    known = rows.dropna(subset=["test_accuracy", "bytes"])
    if known.empty:
        return []
    cell = known.sort_values(CELL, kind="stable").iloc[0]
    shown = known[(known[CELL] == cell[CELL]).all(axis=1)]
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, shown, shown["median_ms"].to_numpy(float), f"median latency, ms ({cell_title(*cell[CELL])})")
    _panel(right, shown, shown["bytes"].to_numpy(float) / 1e6, "size on disk, MB")
    left.set_ylabel("test accuracy, %")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(f"{cell['cpu']} (machine {cell['machine']}); bars: 95 % over test photos", fontsize=10)
    files = {kind: path.with_suffix(f".{kind}") for kind in FORMATS}
    for kind, file in files.items():
        write_atomically(file, partial(figure.savefig, format=kind, dpi=160))
    return list(files.values())


def _panel(axes: Axes, rows: pd.DataFrame, x: NDArray[np.float64], title: str) -> None:
    y = 100 * rows["test_accuracy"].to_numpy(float)
    shares = zip(rows["test_accuracy"], rows["photos_test"], strict=True)
    low, high = np.array([wilson(share, int(count)) for share, count in shares]).T
    axes.errorbar(x, y, yerr=[y - 100 * low, 100 * high - y], fmt="none", ecolor="0.75", elinewidth=1, zorder=1)
    for model, (marker, colour) in _looks(rows).items():
        own = (rows["model"] == model).to_numpy()
        fill = "white" if rows.loc[own, "baseline"].iloc[0] else colour
        axes.plot(x[own], y[own], marker, mfc=fill, mec=colour, mew=1.6, ms=8, label=model, zorder=3)
    _scale(axes, x, title)
    front = pareto(x, y)
    edge = axes.get_xlim()[1]
    axes.step([*x[front], edge], [*y[front], y[front[-1]]], "--", where="post", color="0.35", linewidth=1, zorder=2)
    _label_runs(axes, rows["run"].tolist(), x, y)


def _scale(axes: Axes, x: NDArray[np.float64], title: str) -> None:
    """A logarithmic axis in plain numbers, with room for labels on the right."""
    from matplotlib.ticker import LogLocator

    axes.set_xscale("log")
    axes.set_xlim(x.min() / 1.4, x.max() * 1.4 * (x.max() / x.min()) ** 0.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel(title)
    axes.grid(color="0.9", linewidth=0.6)


def _looks(rows: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Marker and colour of each model, fp32 first, so that a model looks alike in all panels."""
    names = rows.sort_values(["baseline", "model"], ascending=[False, True])["model"].unique()
    return {name: LOOKS[k % len(LOOKS)] for k, name in enumerate(names)}


def _label_runs(axes: Axes, runs: list[str], x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """The name of each run beside its rightmost point, pushed upwards where two would overlap."""
    ends = {run: max((k for k, other in enumerate(runs) if other == run), key=lambda k: x[k]) for run in runs}
    gap, floor = 0.05 * float(np.ptp(axes.get_ylim())), -np.inf
    beside = (axes.get_xlim()[1] / axes.get_xlim()[0]) ** 0.03
    for run, k in sorted(ends.items(), key=lambda item: y[item[1]]):
        floor = max(y[k], floor + gap)
        axes.text(x[k] * beside, floor, run, fontsize=8, va="center")


def pareto(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which points no other beats in both, less x and more y; by growing x."""
    front, best = [], -np.inf
    for k in np.lexsort((-y, x)):
        if y[k] > best:
            front.append(k)
            best = y[k]
    return np.array(front, dtype=np.int64)


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` photos (Wilson 1927, 10.1080/01621459.1927.10502953)."""
    from scipy.stats import binomtest

    found = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return float(found.low), float(found.high)

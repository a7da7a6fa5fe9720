"""Draws the layers of runs as clouds of test images (`analysis.layers` measures them)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.layers import Layers
from analysis.palette import OKABE_ITO, legend, panels
from birds.core.letters import labels

COLOURS = OKABE_ITO[:7]
MARKERS = "os^DvPX"
LONGEST_NAME = 24
MOST_NAMED = 40


def layers_figure(found: Mapping[str, Layers], classes: Mapping[str, Sequence[str]]) -> Figure:
    """One row per run: the middle and the last layer.

    Colour and marker show the true class; a ring marks an image that the run classified wrongly.

    Args:
        found: the layers, by the title of the run.
        classes: the names of its classes, by the same title.
    """
    columns = max(len(layers.drawn) for layers in found.values())
    size = (0.6 + 3.7 * columns, 0.9 + 3.4 * len(found))
    figure, axes = panels(len(found), columns, *size)
    for row, (words, layers) in zip(axes, found.items(), strict=True):
        measured = {one["layer"]: one for one in layers.rows}
        names = labels(list(classes[words]), LONGEST_NAME)
        for axis in row:
            axis.set_axis_off()
        for axis, (name, places) in zip(row, layers.drawn.items(), strict=False):
            _cloud(axis, places, layers, names)
            one = measured[name]
            numbers = f"silhouette {one['silhouette']:.2f}, probe {one['probe']:.0%}"
            axis.set_title(f"{words}\n{name}: {numbers}", fontsize=8)
    if len({tuple(own) for own in classes.values()}) == 1 and len(names) <= MOST_NAMED:
        legend(figure, [axes[0][0]], columns=5)
    return figure


def _cloud(axis: Axes, places: NDArray[np.float32], layers: Layers, names: Sequence[str]) -> None:
    for number in np.unique(layers.label).tolist():
        x, y = places[layers.label == number].T
        colour = COLOURS[number % len(COLOURS)]
        marker = MARKERS[number // len(COLOURS) % len(MARKERS)]
        axis.scatter(x, y, s=9, c=colour, marker=marker, linewidths=0, label=names[number])
    x, y = places[layers.wrong].T
    axis.scatter(x, y, s=26, facecolors="none", edgecolors="0.2", linewidths=0.5)

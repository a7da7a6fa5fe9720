"""Pictures of latent spaces: coloured by class and by cluster, as figures, pages and sheets.

A page shows the image under the pointer, and a sheet shows the images of one cluster. A class and
the cluster matched to it have the same colour and marker, so a good clustering looks alike in both
panels.
"""

import base64
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from analysis.frame import BROKEN
from analysis.latent_space import Labels, Space, nearest_first
from analysis.palette import OKABE_ITO, legend, panels
from birds.core.letters import fitted, labels
from birds.core.store import write_atomically, write_text

COLOURS = OKABE_ITO[:7]  # without yellow, which is too light for dots without a rim
MARKERS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
}
SIDES = {"by true class": "label", "by cluster": "cluster"}  # panel -> what colours it
LONGEST_NAME = 24  # most letters of a class name in a legend
MOST_NAMED = 40  # most classes in a legend
THUMBNAIL, ON_HOVER = 72, 64  # pixels a side
ACROSS, DOWN = 10, 6  # thumbnails in a row and in a column of a sheet
SHOW_IMAGE = """
const images = %s, shown = document.createElement('img');
const plot = document.getElementById('{plot_id}');
shown.style = 'position:fixed;right:12px;bottom:12px;width:192px;border:2px solid #444;' +
  'display:none;z-index:9';
document.body.appendChild(shown);
plot.on('plotly_hover', e => {
  shown.src = 'data:image/jpeg;base64,' + images[e.points[0].customdata[0]];
  shown.style.display = 'block'; });
plot.on('plotly_unhover', () => { shown.style.display = 'none'; });
"""


def read_space(folder: Path) -> Space | None:
    """The results of `birds latent` in this `latent` folder of a run; None if missing or
    incomplete.
    """
    try:
        measured = json.loads((folder / "latent.json").read_text())
        with np.load(folder / "latent.npz", allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in ("vectors", "label", "cluster", "tsne")}
        return Space(**arrays, metrics=measured)
    except BROKEN:
        return None


def spaces_figure(spaces: Mapping[str, Space], classes: Sequence[str]) -> Figure:
    """Two panels for each space, two spaces a row: images by true class, and by cluster.

    The title of the second panel says how well they agree.
    """
    across = min(2, len(spaces))
    rows = -(-len(spaces) // across)
    figure, axes = panels(rows, 2 * across, 4.8 * across, 1.2 + 2.3 * rows)
    empty = itertools.chain(*axes)
    for name, space in spaces.items():
        share = {
            word: f"{100 * space.metrics[word]:.0f} %"
            for word in ("accuracy", "accuracy_by_chance")
        }
        agree = f"by cluster: {share['accuracy']} agree\n(by chance {share['accuracy_by_chance']})"
        titles = {f"{name}\nby true class": space.label, agree: space.cluster}
        for (title, group), axis in zip(titles.items(), empty, strict=False):
            _scatter(axis, space.tsne, group, classes)
            axis.set(title=title, xticks=[], yticks=[])
    for axis in empty:
        axis.set_axis_off()
    if len(classes) <= MOST_NAMED:
        legend(figure, axes[0][:1], columns=1 + 2 * across)
    return figure


def _scatter(
    axes: Axes, places: NDArray[np.float32], group: Labels, classes: Sequence[str]
) -> None:
    looks = itertools.product(MARKERS, COLOURS)
    for number, (name, (marker, colour)) in enumerate(
        zip(labels(_spaced(classes), LONGEST_NAME), itertools.cycle(looks), strict=False)
    ):
        x, y = places[group == number].T
        axes.plot(x, y, marker, color=colour, ms=3.2, mew=0, alpha=0.8, label=name)


def _spaced(classes: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in classes]


def save_page(
    spaces: Mapping[str, Space],
    classes: Sequence[str],
    images: Sequence[NDArray[np.uint8]],
    path: Path,
) -> Path:
    """Save the same two panels as a web page with plotly inside.

    `images` (N of (H, W, 3)) appear when the pointer is on their dots.
    """
    import plotly.express as px

    names = np.array([name.replace("_", " ") for name in classes])
    parts = [
        pd.DataFrame(
            {"x": space.tsne[:, 0], "y": space.tsne[:, 1], "image": range(len(space.tsne))}
        ).assign(
            encoder=name, side=side, shown=names[getattr(space, group)], true=names[space.label]
        )
        for name, space in spaces.items()
        for side, group in SIDES.items()
    ]
    figure = px.scatter(
        pd.concat(parts),
        **{"x": "x", "y": "y", "facet_col": "side", "facet_row": "encoder"},
        **{"color": "shown", "symbol": "shown", "custom_data": ["image"], "hover_name": "true"},
        hover_data=dict.fromkeys(("x", "y", "side", "encoder"), False),
        color_discrete_sequence=COLOURS,
        symbol_sequence=[symbol for symbol in MARKERS.values() for _ in COLOURS],
        category_orders={"shown": list(names)},
        labels={"shown": "class, or cluster matched to it"},
        height=90 + 560 * len(spaces),
        template="plotly_white",
    )
    figure.update_xaxes(matches=None, showticklabels=False, title="").update_yaxes(
        matches=None, showticklabels=False, title=""
    ).for_each_annotation(lambda one: one.update(text=one.text.partition("=")[2]))
    script = SHOW_IMAGE % json.dumps([_jpeg(image) for image in images])
    write_text(path, figure.to_html(include_plotlyjs=True, post_script=script, div_id="latent"))
    return path


def _jpeg(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    _small(image, ON_HOVER).save(file, "JPEG", quality=70)
    return base64.b64encode(file.getvalue()).decode()


def _small(image: NDArray[np.uint8], size: int) -> Image.Image:
    """An image (H, W, 1 or 3) as a square picture of `size` pixels a side, in colour."""
    pixels = np.broadcast_to(image, (*image.shape[:2], 3))
    return Image.fromarray(np.ascontiguousarray(pixels)).resize((size, size))


def save_sheets(
    space: Space, classes: Sequence[str], images: Sequence[NDArray[np.uint8]], folder: Path
) -> list[Path]:
    """Save a PNG for each cluster with its images, nearest to the cluster's mean first.

    Images of the class matched to the cluster have green frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    paths = []
    for cluster, name in enumerate(classes):
        own = nearest_first(space, cluster)
        hits = int((space.label[own] == cluster).sum())
        sheet = Image.new(
            "RGB",
            (ACROSS * THUMBNAIL, 20 + THUMBNAIL * max(1, min(DOWN, -(-len(own) // ACROSS)))),
            "white",
        )
        matched = f"cluster {cluster}, matched to {name.replace('_', ' ')}"
        title = f"{matched}: {hits} of its {len(own)} images are that class"
        font, words = fitted(title, 11, sheet.width - 8)
        ImageDraw.Draw(sheet).text((4, 3), words, fill="black", font=font)
        for place, k in enumerate(own[: ACROSS * DOWN]):
            colour = "#009E73" if space.label[k] == cluster else "#bbbbbb"
            small = _small(images[k], THUMBNAIL - 8)
            at = (place % ACROSS * THUMBNAIL, 20 + place // ACROSS * THUMBNAIL)
            sheet.paste(ImageOps.expand(small, 3, colour), at)
        paths.append(folder / f"{cluster:03}.png")
        write_atomically(paths[-1], partial(sheet.save, format="PNG"))
    return paths

"""README's picture: from photos to recipes (left), and what was measured (right).

    python -m analysis.readme_figure SHEET.png OUT.png     # `make readme-figure` does both steps

SHEET.png is the contact sheet of the embedded birds that `birds data preview` writes. Every number
comes from the lines in `docs/results`: 60 labels of 20 species, five seeds, 500 test photos.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray
from PIL import Image

from analysis.backbone_results import load, told
from analysis.palette import OKABE_ITO
from analysis.results import FILE, hits
from analysis.statistics import crossed

GREY, BLUE, GREEN = "#555555", OKABE_ITO[1], OKABE_ITO[2]
SMALL = [("A", "from scratch"), ("B2", "autoencoder, then fine-tuned"), ("FixMatch", "FixMatch")]
NETWORKS = {"mobilenet_v2": "MobileNetV2", "tf_efficientnet_lite0": "EfficientNet-Lite0"}
HEADS = [
    ("Logistic", "logistic regression"),
    ("ClassMeans", "nearest class mean"),
    ("SelfTraining", "self-training"),
]
THUMBNAIL, MARGIN = 96, 150  # pixels of the contact sheet: one row a species, names left of it
RECIPES = [
    ("from scratch", "labels alone", GREY),
    ("pretrain, then fine-tune", "labels and unlabelled photos", GREY),
    ("ImageNet features", "labels alone", BLUE),
    ("ImageNet features\n+ self-training", "labels and unlabelled photos", GREEN),
]


class Row(NamedTuple):
    """A line of the forest plot: `told` is (seeds, images), `uses` a colour."""

    name: str
    told: NDArray[np.float64]
    uses: str


def small_network(variant: str, split: int = 90) -> NDArray[np.float64]:
    """Whether a small U-Net told each test photo of 20 species, (seeds, images)."""
    runs = pd.read_csv(FILE, dtype={"key": str})
    usual = (runs["species"] == 20) & (runs["split"] == split) & (runs["recipe"] == 3)
    usual &= (runs["min_steps"] == 20) & runs["gpu"].isna()
    usual &= runs["pool"].isna() | (runs["pool"] == "split")
    rows = runs[usual & (runs["variant"] == variant)]
    rows = rows.sort_values(["seed", "best_from"], na_position="first")
    rows = rows.drop_duplicates("seed", keep="last")  # FixMatch: the rule of today
    return np.array([hits(row)[:, 0] for row in rows.itertuples()], float)


def measured() -> list[tuple[str, list[Row]]]:
    """The groups of the forest plot, from top to bottom."""
    small = [Row(name, small_network(variant), GREY) for variant, name in SMALL]
    groups = [("Small U-Net, random start", small)]
    runs = load()
    for network, title in NETWORKS.items():
        rows = []
        for variant, name in HEADS:
            uses = GREEN if variant == "SelfTraining" else BLUE
            rows.append(Row(name, told(runs, network, 60, variant), uses))
        alone = told(runs, network, 180, "Logistic")
        rows.append(Row("logistic regression, 180 labels", alone, BLUE))
        groups.append((f"{title} with ImageNet weights, frozen", rows))
    return groups


def forest(axes: Axes) -> None:
    """Accuracies with 95 % intervals over seeds and test photos."""
    place, ticks, names = 0.0, [], []
    for title, rows in measured():
        axes.text(1, place, title, va="center", fontweight="bold", fontsize=8.5)
        for row in rows:
            place -= 1
            mean = 100 * row.told.mean()
            half = 100 * float(crossed(row.told).satterthwaite())
            filled = "white" if "180" in row.name else row.uses
            axes.errorbar(
                mean, place, xerr=half, fmt="o", color=row.uses, mfc=filled, capsize=2.5, ms=6
            )
            side = -1 if mean > 70 else 1
            align = "left" if side > 0 else "right"
            _words(axes, mean + side * (half + 2), place, f"{mean:.1f} %", ha=align)
            ticks.append(place)
            names.append(row.name)
        place -= 1.2
    axes.set_yticks(ticks, names)
    axes.set_xlim(0, 100)
    axes.set_ylim(place + 0.6, 0.7)
    axes.axvline(5, color="0.6", linestyle=":", linewidth=1)
    axes.text(6, place + 0.75, "chance", color="0.4", fontsize=7.5, va="bottom")
    axes.set_xlabel("test accuracy in %, 20 bird species, 60 labels (hollow: 180)")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def thumbnails(sheet: Path, count: int) -> list[NDArray[np.uint8]]:
    """The first `count` pictures of a contact sheet, one of each species, (96, 96, 3)."""
    pixels = np.asarray(Image.open(sheet).convert("RGB"))
    rows = range(0, len(pixels), THUMBNAIL)
    cut = [pixels[row : row + THUMBNAIL, MARGIN : MARGIN + THUMBNAIL] for row in rows]
    return cut[:count]


def story(axes: Axes, sheet: Path) -> None:
    """Photos with and without labels, and four recipes that use them."""
    axes.set_axis_off()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    pictures = thumbnails(sheet, 15)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, 3)
        left, low = 0.1 + 1.2 * column, 7.9 - 1.55 * row - (0.75 if row else 0)
        axes.imshow(picture, extent=(left, left + 1.05, low, low + 1.35), aspect="auto", zorder=2)
    _words(axes, 1.8, 9.55, "60 photos with a label")
    _words(axes, 1.8, 7.25, "540 without")
    for index, (name, uses, colour) in enumerate(RECIPES):
        low = 7.4 - 2.15 * index
        box = FancyBboxPatch((5.2, low), 4.7, 1.6, boxstyle="round,pad=0.08", fc="white", ec=colour)
        axes.add_patch(box)
        _words(axes, 7.55, low + 1.05, name, color=colour, fontweight="bold")
        _words(axes, 7.55, low + 0.25, uses, fontsize=7.5)
        arrow = {"arrowstyle": "->", "color": colour, "linewidth": 1.2}
        axes.annotate("", (5.1, low + 0.8), (3.75, 5.2), arrowprops=arrow)
    _words(axes, 7.55, 9.55, "four of the recipes")


def _words(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    axes.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 8.5, **look})


def draw(sheet: Path, out: Path) -> None:
    """Write the picture as PNG."""
    figure = Figure(figsize=(10, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    story(left, sheet)
    forest(right)
    figure.savefig(out, dpi=150, metadata={"Software": None})
    small = Image.open(out).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(out, optimize=True)
    print(f"Written: {out}")


if __name__ == "__main__":
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("sheet", type=Path)
    command.add_argument("out", type=Path)
    asked = command.parse_args()
    draw(asked.sheet, asked.out)

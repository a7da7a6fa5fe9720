"""Where a model errs, and how sure it is: which classes it confuses, how often it is right where it
is so sure, and the images that it takes for another class.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.special import softmax

from analysis.palette import OKABE_ITO, RIM, explain, legend, line, look, named, panels
from birds.core.guesses import guesses
from birds.core.letters import labels
from birds.core.spec import UserError

DIAGONAL = (
    "dotted line: as often right as sure; dots grow with the number of test images;\n"
    "ECE: expected calibration error"
)
BINS = 15  # of the reliability diagram: those of the record's calibration error
PAIRS = 12
IMAGES = 6
SURE = 0.8  # a probability above this is called sure
LONGEST_NAME = 24  # letters of a class in these figures


def confused_pairs(
    confusion: NDArray[np.int64], classes: list[str], most: int = PAIRS
) -> pd.DataFrame:
    """The pairs most often taken for each other: true, said, images, share of the true class's
    images.
    """
    wrong = confusion * (1 - np.eye(len(confusion), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    true, said = np.unravel_index(order, wrong.shape)
    pairs = pd.DataFrame(
        {
            "true": np.array(classes)[true],
            "said": np.array(classes)[said],
            "images": wrong[true, said],
        }
    )
    return pairs.assign(share=pairs["images"] / confusion.sum(1)[true]).query("images > 0")


def confusion_figure(confusion: NDArray[np.int64], classes: list[str], title: str) -> Figure:
    """Shares of each true class by what was said, and the most confused pairs beside them."""
    pairs = confused_pairs(confusion, classes)
    figure, [[left, right]] = panels(1, 2, 9.6, 5.4, width_ratios=(1.15, 1))
    share = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = left.imshow(share, cmap="Greys", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(
        image, ax=left, label="% of the true class", location="bottom", shrink=0.7, aspect=30
    )
    left.set(xlabel="said", ylabel="true", title=title)
    left.grid(False)
    if len(classes) <= 30:
        names = labels(classes, LONGEST_NAME)
        left.set_xticks(range(len(classes)), names, rotation=90, fontsize=6)
        left.set_yticks(range(len(classes)), names, fontsize=6)
    right.barh(range(len(pairs)), pairs["images"], color=OKABE_ITO[4], edgecolor=RIM, linewidth=0.6)
    short = dict(zip(classes, labels(classes, LONGEST_NAME), strict=True))
    words = [f"{short[p.true]} → {short[p.said]}" for p in pairs.itertuples()]
    right.set_yticks(range(len(pairs)), words, fontsize=7)
    right.set(xlabel="test images", title="most confused: true → said")
    right.invert_yaxis()
    return figure


def reliability(
    logits: NDArray[np.float32], label: NDArray[np.int64], bins: int = BINS
) -> pd.DataFrame:
    """Confidence, accuracy and images of each bin of equal width that holds images (Guo et al.
    2017, 1706.04599).
    """
    probability = softmax(logits.astype(float), axis=1)
    confidence, right = probability.max(1), probability.argmax(1) == label
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = pd.DataFrame({"bin": place, "confidence": confidence, "accuracy": right}).groupby("bin")
    return rows.mean().assign(images=rows.size()).reset_index(drop=True)


def calibration_error(bins: pd.DataFrame) -> float:
    """The expected calibration error of a reliability table, a fraction of 1."""
    return float(np.average((bins["accuracy"] - bins["confidence"]).abs(), weights=bins["images"]))


def reliability_figure(tables: dict[tuple[int, str], pd.DataFrame]) -> Figure:
    """A panel for each split: how often a variant is right where it is so sure; dots grow with the
    number of images. The legend has the expected calibration error at each split.
    """
    splits = sorted({split for split, _ in tables})
    variants = list(dict.fromkeys(variant for _, variant in tables))
    size = (0.8 + 3.2 * len(splits), 4.2 + 0.17 * len(variants))
    figure, axes = panels(1, len(splits), *size, sharex=True, sharey=True)
    for axis, split in zip(axes[0], splits, strict=True):
        axis.plot([0, 100], [0, 100], color="0.5", linestyle=":", linewidth=1)
        for variant in variants:
            if (split, variant) in tables:
                errors = [tables[cut, variant] for cut in splits if (cut, variant) in tables]
                _reliable(axis, variant, tables[split, variant], errors)
        limits: dict[str, Any] = {"xlim": (-4, 104), "ylim": (-4, 104), "aspect": "equal"}
        axis.set(title=f"{split}/{100 - split}", xlabel="confidence, %", **limits)
    axes[0][0].set_ylabel("right, %")
    legend(figure, axes[0], columns=1)
    explain(figure, DIAGONAL)
    return figure


def _reliable(axis: Axes, variant: str, bins: pd.DataFrame, errors: list[pd.DataFrame]) -> None:
    """One variant in one panel."""
    x, y = 100 * bins["confidence"], 100 * bins["accuracy"]
    share = bins["images"] / bins["images"].sum()
    own = look(variant)
    shape: dict[str, Any] = {"c": [own.colour], "marker": own.marker, "edgecolors": RIM}
    ece = " / ".join(f"{100 * calibration_error(one):.1f} %" for one in errors)
    axis.plot(x, y, color=own.colour, zorder=2, **line(1.2))
    axis.scatter(x, y, 6 + 90 * share, **shape, zorder=3, label=f"{named(variant)}, ECE {ece}")


def judged(logits: NDArray[np.float32], label: NDArray[np.int64]) -> pd.DataFrame:
    """A row an image: row, true, said, second, confidence, runner_up (the second's), margin, and
    the place of the truth among the guesses.
    """
    found = guesses(logits, label)
    columns: dict[str, NDArray[Any]] = {
        "row": np.arange(len(label)),
        "true": label,
        "said": found.first,
    }
    columns |= {"second": found.second, "confidence": found.confidence}
    columns |= {"runner_up": found.runner_up, "margin": found.margin, "place": found.place}
    return pd.DataFrame(columns)


def mistakes(logits: NDArray[np.float32], label: NDArray[np.int64]) -> pd.DataFrame:
    """The rows of `judged` whose image a model gets wrong."""
    images = judged(logits, label)
    return images[images["place"] > 1].reset_index(drop=True)


def errors_figure(
    saved: dict[str, NDArray[Any]],
    root: Path,
    title: str,
    thumbnails: Mapping[str, Image.Image] | None = None,
) -> Figure:
    """Two rows of images: where the model hesitated most, right or wrong, and where it was wrong
    and most sure. Above each its true class, then both guesses with their probabilities.

    Args:
        saved: label, logits, image and classes, as `closeups.predictions` reads them.
        root: the folder of the images, for those without a small copy.
        title: of which run.
        thumbnails: the run's small copies by the names of the images.
    """
    images = judged(saved["logits"], saved["label"])
    wrong = images[images["place"] > 1]
    classes = labels([str(name) for name in saved["classes"]], LONGEST_NAME)
    if wrong.empty:
        raise UserError("the best run makes no mistake on the test images")
    rows = {
        "hesitated": images.nsmallest(IMAGES, "margin"),
        "sure and wrong": wrong.nlargest(IMAGES, "confidence"),
    }
    figure, axes = panels(2, IMAGES, 1.6 * IMAGES, 4.9)
    for line_of, (name, shown) in zip(axes, rows.items(), strict=True):
        for axis in line_of:
            axis.set_axis_off()
        for axis, one in zip(line_of, shown.itertuples(), strict=False):
            image = str(saved["image"][one.row])
            known = thumbnails.get(image) if thumbnails else None
            axis.imshow(known or _image(root / image))
            axis.set_title(_guessed(one, classes), fontsize=6.5)
        line_of[0].text(
            -0.08, 0.5, name, transform=line_of[0].transAxes, rotation=90, va="center", ha="right"
        )
    figure.suptitle(f"{title}: {_counted(wrong, len(images))}", fontsize=9)
    return figure


def _counted(wrong: pd.DataFrame, images: int) -> str:
    second = (wrong["place"] == 2).mean()
    sure = (wrong["confidence"] > SURE).mean()
    count = f"of {len(wrong)} mistakes in {images}"
    return f"{count}, {second:.0%} had the truth second, {sure:.0%} were sure (over {SURE:.0%})"


def _guessed(one: Any, classes: list[str]) -> str:
    """True class, and both guesses with their probabilities; a mark where it was right."""
    truth = f"true: {classes[one.true]}{' (right)' * (one.place == 1)}"
    first = f"{classes[one.said]}: {one.confidence:.0%}"
    return f"{truth}\n{first}\n{classes[one.second]}: {one.runner_up:.0%}"


def _image(path: Path, size: int = 128) -> Image.Image:
    """The middle of an image, or a grey square where it is not on this machine."""
    try:
        with Image.open(path) as image:
            return ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), (size, size))
    except OSError:
        return Image.new("RGB", (size, size), "lightgrey")

"""A model's errors and confidence: confused classes, calibration, and its most telling images."""

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
from birds.core.guesses import SURE, guesses
from birds.core.letters import labels
from birds.core.spec import UserError

DIAGONAL = (
    "dotted line: accuracy equals confidence; larger dots: more test images;\n"
    "ECE: expected calibration error"
)
BINS = 15  # of the reliability diagram, as for the calibration error in the record
PAIRS = 12
IMAGES = 6
LONGEST_NAME = 24  # characters of a class name in these figures


def confused_pairs(
    confusion: NDArray[np.int64], classes: list[str], most: int = PAIRS
) -> pd.DataFrame:
    """The most confused pairs: true class, predicted class, images, share of the true class."""
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
    """The confusion matrix in per cent of each true class, and the most confused pairs."""
    pairs = confused_pairs(confusion, classes)
    figure, [[left, right]] = panels(1, 2, 9.6, 5.4, width_ratios=(1.15, 1))
    share = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = left.imshow(share, cmap="Greys", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(
        image, ax=left, label="% of the true class", location="bottom", shrink=0.7, aspect=30
    )
    left.set(xlabel="predicted", ylabel="true", title=title)
    left.grid(False)
    if len(classes) <= 30:
        names = labels(classes, LONGEST_NAME)
        left.set_xticks(range(len(classes)), names, rotation=90, fontsize=6)
        left.set_yticks(range(len(classes)), names, fontsize=6)
    right.barh(range(len(pairs)), pairs["images"], color=OKABE_ITO[4], edgecolor=RIM, linewidth=0.6)
    short = dict(zip(classes, labels(classes, LONGEST_NAME), strict=True))
    words = [f"{short[p.true]} → {short[p.said]}" for p in pairs.itertuples()]
    right.set_yticks(range(len(pairs)), words, fontsize=7)
    right.set(xlabel="test images", title="most confused: true → predicted")
    right.invert_yaxis()
    return figure


def reliability(
    logits: NDArray[np.float32], label: NDArray[np.int64], bins: int = BINS
) -> pd.DataFrame:
    """Confidence, accuracy and number of images of each bin of equal width with images (Guo et al.
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
    """One panel per split: accuracy against confidence; larger dots mean more images. The legend
    has the expected calibration error at each split.
    """
    splits = sorted({split for split, _ in tables})
    variants = list(dict.fromkeys(variant for _, variant in tables))
    size = (0.8 + 3.2 * len(splits), 4.2 + 0.17 * len(variants))  # about squares
    figure, axes = panels(1, len(splits), *size, sharex=True, sharey=True)
    for axis, split in zip(axes[0], splits, strict=True):
        axis.plot([0, 100], [0, 100], color="0.5", linestyle=":", linewidth=1)
        for variant in variants:
            if (split, variant) in tables:
                errors = [tables[cut, variant] for cut in splits if (cut, variant) in tables]
                _reliable(axis, variant, tables[split, variant], errors)
        limits: dict[str, Any] = {"xlim": (-4, 104), "ylim": (-4, 104)}
        axis.set(title=f"{split}/{100 - split}", xlabel="confidence, %", **limits)
    axes[0][0].set_ylabel("correct, %")
    legend(figure, axes[0], columns=1)
    explain(figure, DIAGONAL)
    return figure


def _reliable(axis: Axes, variant: str, bins: pd.DataFrame, errors: list[pd.DataFrame]) -> None:
    """Draw one variant in one panel."""
    x, y = 100 * bins["confidence"], 100 * bins["accuracy"]
    share = bins["images"] / bins["images"].sum()
    own = look(variant)
    shape: dict[str, Any] = {"c": [own.colour], "marker": own.marker, "edgecolors": RIM}
    ece = " / ".join(f"{100 * calibration_error(one):.1f} %" for one in errors)
    axis.plot(x, y, color=own.colour, zorder=2, **line(1.2))
    axis.scatter(x, y, 6 + 90 * share, **shape, zorder=3, label=f"{named(variant)}, ECE {ece}")


def judged(logits: NDArray[np.float32], label: NDArray[np.int64]) -> pd.DataFrame:
    """One row per image: row, true, said (first guess), second, confidence, runner_up (probability
    of the second), margin, and the rank of the true class (place).
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
    """The rows of `judged` with a wrong first guess."""
    images = judged(logits, label)
    return images[images["place"] > 1].reset_index(drop=True)


def errors_figure(
    saved: dict[str, NDArray[Any]],
    root: Path,
    title: str,
    thumbnails: Mapping[str, Image.Image] | None = None,
) -> Figure:
    """Two rows of images: those with the smallest margin, and the errors with the highest
    confidence. Above each its true class, then both guesses with their probabilities.

    Args:
        saved: label, logits, image and classes, from `closeups.predictions`.
        root: the folder of the images, for images without a small copy.
        title: the title of the run.
        thumbnails: the run's small copies by the names of the images.
    """
    images = judged(saved["logits"], saved["label"])
    wrong = images[images["place"] > 1]
    classes = labels([str(name) for name in saved["classes"]], LONGEST_NAME)
    if wrong.empty:
        raise UserError("the best run makes no errors on the test images")
    rows = {
        "small margin": images.nsmallest(IMAGES, "margin"),
        "confident errors": wrong.nlargest(IMAGES, "confidence"),
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
    count = f"{len(wrong)} errors in {images}"
    return (
        f"{count}: {second:.0%} with the true class second, {sure:.0%} confident (over {SURE:.0%})"
    )


def _guessed(one: Any, classes: list[str]) -> str:
    """True class, and both guesses with their probabilities; marks a correct first guess."""
    truth = f"true: {classes[one.true]}{' (correct)' * (one.place == 1)}"
    first = f"{classes[one.said]}: {one.confidence:.0%}"
    return f"{truth}\n{first}\n{classes[one.second]}: {one.runner_up:.0%}"


def _image(path: Path, size: int = 128) -> Image.Image:
    """The central square of an image, or a grey square if the image is missing."""
    try:
        with Image.open(path) as image:
            return ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), (size, size))
    except OSError:
        return Image.new("RGB", (size, size), "lightgrey")

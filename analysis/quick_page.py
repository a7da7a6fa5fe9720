"""The page of a first look: accuracy, confused classes, a map of the features, what to do next.

The page is one HTML file that contains its pictures, so it works without a network.
"""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.latent_space import tsne
from analysis.markdown import markdown
from analysis.model_card import confused_pairs
from analysis.palette import panels
from birds.core.letters import labels
from birds.core.proportions import wilson

PERPLEXITY = 20.0
NAMED = 20  # classes in the legend
STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "img{max-width:100%}pre{background:#f4f4f4;padding:.6em;overflow-x:auto}"
)


def accuracy_words(found: Any) -> str:
    """A sentence with the cross-validated accuracy of each head, and the best one's interval."""
    images = len(found.label)
    right = int((found.probability.argmax(1) == found.label).sum())
    ends = wilson(right, images)
    others = [
        f"{name} {100 * value:.1f} %"
        for name, value in found.accuracy.items()
        if name != found.head
    ]
    chance = 100 * np.bincount(found.label).max() / images
    return (
        f"Cross-validated accuracy: {100 * right / images:.1f} % [{100 * ends.low:.1f}, "
        f"{100 * ends.high:.1f}] by head={found.head} on {images} labelled photos of "
        f"{len(found.classes)} classes ({', '.join(others)}; always guessing the largest class: "
        f"{chance:.1f} %)."
    )


def distance_words(found: Any) -> str:
    """Sentences on the distance of the unlabelled images from the labelled ones."""
    if not len(found.nearest_unlabelled):
        return "There are no unlabelled photos to compare."
    far = int(found.far.sum())
    count = len(found.far)
    near = np.median(found.nearest)
    return (
        f"Unlabelled photos: {100 * far / count:.0f} % ({far} of {count}) are farther from their "
        "nearest labelled photo than 95 % of the labelled photos are; about 5 % are expected for "
        "similar photos. The median distance to the nearest labelled photo is "
        f"{np.median(found.nearest_unlabelled):.2f}, among labelled photos {near:.2f} (1 - cosine "
        "of the features)."
    )


def confusion_table(found: Any) -> str:
    """The most confused pairs of classes, as a Markdown table."""
    rows = confused_pairs(found.label, found.probability.argmax(1), found.classes)
    if not rows:
        return "No labelled photo was confused."
    return markdown(["class", "predicted as", "times", "of"], rows)


def map_figure(found: Any) -> Figure:
    """A t-SNE map of the features: classes in colours, unlabelled photos as crosses."""
    both = found.features
    if len(found.features_unlabelled):
        both = np.concatenate([found.features, found.features_unlabelled])
    perplexity = min(PERPLEXITY, max(2.0, (len(both) - 1) / 3))
    places = tsne(both, perplexity, 0)
    figure, rows = panels(1, 1, 7.5, 5.5)
    axis = rows[0][0]
    count = len(found.label)
    others = places[count:]
    if len(others):
        far = found.far
        for mask, colour, name in ((~far, "0.6", "unlabelled"), (far, "0.1", "unlabelled, far")):
            where = others[mask]
            axis.plot(*where.T, "x", color=colour, ms=4, mew=0.8, linestyle="", label=name)
    colours = colormaps["tab20"]
    for k, name in enumerate(labels(found.classes, 28)):
        own = places[:count][found.label == k]
        shown = name if k < NAMED else None
        axis.plot(*own.T, "o", color=colours(k % 20), ms=4.5, mew=0.3, mec="0.2", label=shown)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title("Photos by their features (t-SNE): close photos look alike to the encoder")
    figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    return figure


def page(title: str, paragraphs: Sequence[str], pictures: Sequence[tuple[str, bytes]]) -> str:
    """The HTML page: paragraphs (Markdown tables are shown as plain text) and PNG pictures."""
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title>"]
    parts.append(f"<style>{STYLE}</style><h1>{html.escape(title)}</h1>")
    for text in paragraphs:
        tag = "pre" if "\n" in text or text.startswith("  ") else "p"
        parts.append(f"<{tag}>{html.escape(text)}</{tag}>")
    for caption, data in pictures:
        encoded = base64.b64encode(data).decode()
        parts.append(f"<h2>{html.escape(caption)}</h2>")
        parts.append(f'<img alt="{html.escape(caption)}" src="data:image/png;base64,{encoded}">')
    return "\n".join(parts)


def png(picture: Any) -> bytes:
    """A figure or a Pillow image as PNG."""
    out = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(out, format="png", dpi=130)
    else:
        picture.save(out, format="png")
    return out.getvalue()


def least_sure(probability: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """The positions of the images with the smallest margin between their two likeliest classes."""
    ordered = np.sort(probability, axis=1)
    order: NDArray[np.int64] = np.argsort(ordered[:, -1] - ordered[:, -2], kind="stable")
    return order[:most]

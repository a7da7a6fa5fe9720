"""A finished classifier at work: images to classes with probabilities, and an annotated picture.

torch is imported only where a run is opened; `birds.use.quantize.predict` shares the rest and does
without it.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from birds.core.letters import fitted
from birds.core.spec import ImageChoices
from birds.core.store import RunFolder
from birds.data.decode import decode_image

BATCH = 64  # images at once


@dataclasses.dataclass(frozen=True)
class Prediction:
    """An image and its likeliest classes, best first, with probabilities."""

    path: Path
    ranked: list[tuple[str, float]]


def predict(folder: RunFolder, paths: Sequence[Path], top: int = 5) -> list[Prediction]:
    """The likeliest classes of each image by a run's classifier.

    Raises UserError when the run is no finished classifier, and on a file that is no image.
    """
    import torch

    from birds.encoders import reads_own_size
    from birds.use.networks import load_classifier

    classifier, spec, classes = load_classifier(folder)
    own_size = reads_own_size(spec)
    at_once = 1 if own_size else BATCH
    predictions = []
    for start in range(0, len(paths), at_once):
        batch = paths[start : start + at_once]
        pixels = torch.from_numpy(read_images(batch, spec.image, own_size=own_size))
        with torch.no_grad():
            logits = classifier(pixels.permute(0, 3, 1, 2).float() / 255)
        predictions += ranked(batch, logits.numpy(), classes, top)
    return predictions


def read_images(
    paths: Sequence[Path], image: ImageChoices, *, own_size: bool = False
) -> NDArray[np.uint8]:
    """The images as training saw them, uint8 (N, size, size, channels), or one (1, h, w, channels)
    at its own size. Raises UserError on a file that is no image.
    """
    chosen = dict(image) | ({"size": None, "channels": 1} if own_size else {})
    return np.stack([decode_image(path, **chosen) for path in paths])


def ranked(
    paths: Sequence[Path], logits: NDArray[np.float32], classes: Sequence[str], top: int = 5
) -> list[Prediction]:
    """Logits (N, S) of the images as their `top` likeliest classes with probabilities."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    probability = odds / odds.sum(axis=1, keepdims=True)
    best = np.argsort(-probability, axis=1, kind="stable")[:, :top]
    predictions = []
    for path, chances, order in zip(paths, probability, best, strict=True):
        named = [(classes[k], float(chances[k])) for k in order]
        predictions.append(Prediction(path, named))
    return predictions


def annotated(predictions: Sequence[Prediction], width: int = 320) -> Image.Image:
    """The images side by side, each with its three likeliest classes under it."""
    sheet = Image.new("RGB", (width * len(predictions), width + 64), "white")
    pen = ImageDraw.Draw(sheet)
    for column, prediction in enumerate(predictions):
        sheet.paste(Image.fromarray(decode_image(prediction.path, size=width)), (column * width, 0))
        for line, (name, probability) in enumerate(prediction.ranked[:3]):
            x, y = column * width + 8, width + 4 + 19 * line
            pen.rectangle((x, y, x + int((width - 16) * probability), y + 16), fill="#bfe3d0")
            font, words = fitted(f"{probability:.0%}  {name}", 12, width - 24)
            pen.text((x + 4, y + 1), words, fill="black", font=font)
    return sheet

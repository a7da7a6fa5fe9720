"""A finished classifier at work: photos to species with probabilities, and an annotated picture.

torch is imported only where a checkpoint is opened; `birds.use.quantize.predict` shares the rest
and does without it.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError

from birds.core.letters import fitted
from birds.core.spec import UserError
from birds.core.store import RunFolder
from birds.data.cache import decode_photo

if TYPE_CHECKING:
    from birds.methods.classify.standard import Classify


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A photo and its likeliest species, best first, with probabilities."""

    path: Path
    ranked: list[tuple[str, float]]


def load_classifier(folder: RunFolder) -> tuple["Classify", list[str]]:
    """The trained classifier in evaluation mode and its species. Raises UserError when the run is not
    one.
    """
    from birds.core.checkpoint import finished_classifier
    from birds.methods.classify.standard import Classify

    spec, species, weights = finished_classifier(folder)
    task = Classify(spec, len(species), steps_per_epoch=1)
    task.load_state_dict(weights)
    return task.eval(), species


def predict(folder: RunFolder, paths: Sequence[Path], top: int = 5) -> list[Prediction]:
    """The likeliest species of each photo. Raises UserError on a file that is no photo."""
    import torch

    task, species = load_classifier(folder)
    photos = torch.from_numpy(read_square_photos(paths, task.spec.data.size))
    with torch.no_grad():
        logits = task(photos.permute(0, 3, 1, 2).float() / 255)
    return ranked(paths, logits.numpy(), species, top)


def read_square_photos(paths: Sequence[Path], size: int) -> NDArray[np.uint8]:
    """The photos as training saw them, uint8 (N, size, size, 3). Raises UserError on a file that is
    no photo.
    """
    return np.stack([_decoded(path, size) for path in paths])


def _decoded(path: Path, size: int) -> NDArray[np.uint8]:
    try:
        return decode_photo(path, size)
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from None


def ranked(
    paths: Sequence[Path], logits: NDArray[np.float32], species: Sequence[str], top: int = 5
) -> list[Prediction]:
    """Logits (N, S) of the photos as their `top` likeliest species with probabilities."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    probability = odds / odds.sum(axis=1, keepdims=True)
    best = np.argsort(-probability, axis=1, kind="stable")[:, :top]
    return [
        Prediction(path, [(species[k], float(p[k])) for k in order])
        for path, p, order in zip(paths, probability, best, strict=True)
    ]


def annotated(predictions: Sequence[Prediction], width: int = 320) -> Image.Image:
    """The photos side by side, each with its three likeliest species under it."""
    sheet = Image.new("RGB", (width * len(predictions), width + 64), "white")
    pen = ImageDraw.Draw(sheet)
    for column, prediction in enumerate(predictions):
        sheet.paste(Image.fromarray(decode_photo(prediction.path, width)), (column * width, 0))
        for line, (name, probability) in enumerate(prediction.ranked[:3]):
            x, y = column * width + 8, width + 4 + 19 * line
            pen.rectangle((x, y, x + int((width - 16) * probability), y + 16), fill="#bfe3d0")
            font, words = fitted(f"{probability:.0%}  {name}", 12, width - 24)
            pen.text((x + 4, y + 1), words, fill="black", font=font)
    return sheet

"""A finished classifier at work: photos to species with probabilities, and an annotated picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, UnidentifiedImageError

from birds.callbacks import read_checkpoint
from birds.data.cache import decode_photo
from birds.spec import ClassifySpec, Refused, read_spec
from birds.store import RunFolder
from birds.tasks.classify import Classify


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A photo and its likeliest species, best first, with probabilities."""

    path: Path
    ranked: list[tuple[str, float]]


def load_classifier(folder: RunFolder) -> tuple[Classify, list[str]]:
    """The trained classifier in evaluation mode and its species. Raises Refused when the run is not one."""
    spec = read_spec(folder.spec_file.read_text())
    record, checkpoint = folder.record(), read_checkpoint(folder, "best")
    if not isinstance(spec, ClassifySpec):
        raise Refused(f"run {folder.key} is a pretraining and knows no species; give a classifier's run")
    if record is None or checkpoint is None:
        raise Refused(f"run {folder.key} is not finished; ask for it again with train.py")
    species: list[str] = record.value("species")
    task = Classify(spec, len(species), steps_per_epoch=1)
    task.load_state_dict(checkpoint["state_dict"])
    return task.eval(), species


@torch.no_grad()
def predict(folder: RunFolder, paths: Sequence[Path], top: int = 5) -> list[Prediction]:
    """The likeliest species of each photo. Raises Refused on a file that is no photo."""
    task, species = load_classifier(folder)
    photos = torch.from_numpy(np.stack([_decoded(path, task.spec.data.size) for path in paths]))
    probability = task(photos.permute(0, 3, 1, 2).float() / 255).softmax(1)
    best = probability.topk(min(top, len(species)), dim=1)
    ranked = [
        [(species[k], p) for p, k in zip(ps, ks, strict=True)]
        for ps, ks in zip(*(b.tolist() for b in best), strict=True)
    ]
    return [Prediction(path, names) for path, names in zip(paths, ranked, strict=True)]


def _decoded(path: Path, size: int) -> np.ndarray:
    try:
        return decode_photo(path, size)
    except (UnidentifiedImageError, OSError) as error:
        reason = (
            "is not an image"
            if isinstance(error, UnidentifiedImageError)
            else f"cannot be read ({error.strerror or error})"
        )
        raise Refused(f"{path} {reason}") from None


def annotated(predictions: Sequence[Prediction], width: int = 320) -> Image.Image:
    """The photos side by side, each with its three likeliest species under it."""
    sheet = Image.new("RGB", (width * len(predictions), width + 64), "white")
    pen = ImageDraw.Draw(sheet)
    for column, prediction in enumerate(predictions):
        sheet.paste(Image.fromarray(decode_photo(prediction.path, width)), (column * width, 0))
        for line, (name, probability) in enumerate(prediction.ranked[:3]):
            place, long = (column * width + 8, width + 4 + 19 * line), int((width - 16) * probability)
            pen.rectangle((place[0], place[1], place[0] + long, place[1] + 16), fill="#bfe3d0")
            pen.text((place[0] + 4, place[1] + 2), f"{probability:.0%}  {name}", fill="black")
    return sheet

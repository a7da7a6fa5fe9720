"""Evaluates the images of a finished generative pretraining with a classifier of the same data.

The judge is a classifier from the same runs folder. In its features, the distance of generated
images to the test images is divided by the distance of equally many training images to the test
images. A ratio of 1 means that generated images are as close as real ones.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from birds.core.letters import fitted
from birds.core.parts import part_class
from birds.core.randomness import stream
from birds.core.record import load_records
from birds.core.spec import RunSpec, UserError, read_spec
from birds.core.store import RunFolder, write_text
from birds.data.augmentation import to_float
from birds.data.module import ImageData
from birds.data.reopen import reopened
from birds.methods import load_method
from birds.methods.pictures import pixels_of, save_picture, tiled
from birds.metrics.frechet import frechet_distance
from birds.use.networks import has_network, load_network

BATCH = 200  # images in a batch
CLASSIFIED = 1000  # how many samples are classified
GRID, ACROSS = 64, 8  # how many images are in the grid, and in each of its rows
OF_A_CLASS = 10  # how many samples of each class are shown
LABEL = 130  # width of the class name beside them, in pixels


@dataclasses.dataclass(frozen=True)
class Judged:
    """The judge's outputs for images: features (N, F) and class probabilities (N, S)."""

    features: NDArray[np.float32]
    probability: NDArray[np.float32]


def generates(spec: RunSpec) -> bool:
    """Whether the method of a run generates images from latent vectors alone."""
    return hasattr(part_class(spec.kind, spec.method.place), "generated")


def generators_of(folder: RunFolder) -> list[RunFolder]:
    """The run and the runs that it needs, as far as they generate images.

    Raises UserError if none of them does or if one is not finished.
    """
    spec = read_spec(folder.spec_file.read_text())
    found = [RunFolder(folder.path.parent, run) for run in spec.lineage() if generates(run)]
    if not found:
        raise UserError(
            f"run {folder.key} ({spec.title}) generates no images, and neither do the runs that it "
            "needs; choose a run with pretraining=dcgan"
        )
    for one in found:
        if one.record() is None:
            raise UserError(f"run {one.key} is not finished; run it again with train.py")
    return found


def find_judge(spec: RunSpec, runs_dir: Path, named: Sequence[RunFolder] = ()) -> RunFolder:
    """The classifier that judges a generator's images.

    It is the first of `named` that was trained on the same images. If none are named, it is the one
    in this runs folder with the best validation accuracy. Raises UserError if there is none.
    """
    if named:
        for folder in named:
            if _same_images(read_spec(folder.spec_file.read_text()), spec):
                load_network(folder)  # raises an error if it cannot be used
                return folder
        raise UserError(
            f"--judge {named[0].key}: it was trained on other images than {spec.key} "
            f"({spec.data.name}, {_size(spec)}); choose a classifier of the same images"
        )
    records = load_records(runs_dir)
    if not records.empty:
        classifiers = records[records["stage"] == "classify"]
        for key in _best_first(classifiers):
            folder = RunFolder(runs_dir, key)
            other = read_spec(folder.spec_file.read_text())
            if _same_images(other, spec) and not other.needs and has_network(folder):
                return folder
    raise UserError(
        f"no classifier of {spec.data.name} at {_size(spec)} was trained in {runs_dir} to judge "
        "generated images; train one, such as train.py variant=A encoder=simple_cnn split=0 with "
        f"data={spec.data.name}, or choose --judge KEY"
    )


def _best_first(classifiers: Any) -> Iterable[str]:
    ordered = classifiers.sort_values("valid_accuracy", ascending=False, kind="stable")
    keys: list[str] = ordered["key"].tolist()
    return keys


def _same_images(one: RunSpec, other: RunSpec) -> bool:
    return (one.data.digest, one.image) == (other.data.digest, other.image)


def _size(spec: RunSpec) -> str:
    return f"image.size={spec.image.size} image.channels={spec.image.channels}"


def judge_samples(
    folder: RunFolder,
    judge: RunFolder,
    data_root: Path | None = None,
    cache_dir: Path | None = None,
    *,
    most: int | None = None,
) -> dict[str, Any]:
    """Generate images, judge them, and write numbers and pictures into the run's folder.

    `most` limits the images of each distance; by default there are as many as test images. Returns
    the numbers, which are also in `samples/samples.json`. Raises UserError when a checkpoint or the
    images are missing, or there are too few test images.
    """
    spec = read_spec(folder.spec_file.read_text())
    method = load_method(spec, folder)
    network, _, classes = load_network(judge)
    data = reopened(folder, spec, data_root, cache_dir)
    training, test = _compared_rows(data, spec.seed, most)
    drawn = method.generated(max(len(test), CLASSIFIED))
    samples = _judged(network, drawn)
    real_test = _judged(network, _images(data, test))
    real_training = _judged(network, _images(data, training))
    numbers = {"key": folder.key, **_about(judge), "images": len(test)}
    numbers |= _distances(samples, real_training, real_test)
    numbers |= _classes(samples.probability[:CLASSIFIED], classes)
    numbers["confidence_in_real"] = float(real_test.probability.max(1).mean())
    _leave_pictures(folder.samples, drawn, samples.probability[:CLASSIFIED].argmax(1), classes)
    write_text(folder.samples / "samples.json", json.dumps(numbers, indent=1))
    return numbers


def _about(judge: RunFolder) -> dict[str, Any]:
    record = judge.record()
    assert record is not None
    return {"judge": judge.key, "judge_accuracy": record.value("test_accuracy")}


def _distances(samples: Judged, real_training: Judged, real_test: Judged) -> dict[str, Any]:
    """Distances to the test images, each from as many images as there are test images."""
    count = len(real_test.features)
    far = frechet_distance(samples.features[:count], real_test.features)
    near = frechet_distance(real_training.features, real_test.features)
    ratio = far / near if near > 0 else None
    return {"frechet_samples": far, "frechet_real": near, "frechet_ratio": ratio}


def _classes(probability: NDArray[np.float32], classes: Sequence[str]) -> dict[str, Any]:
    """How often the judge sees each class, from its probabilities (N, S)."""
    counts = np.bincount(probability.argmax(1), minlength=len(classes))
    return {
        "samples_classified": len(probability),
        "classes": len(classes),
        "classes_seen": int((counts > 0).sum()),
        "class_counts": dict(zip(classes, counts.tolist(), strict=True)),
        "confidence": float(probability.max(1).mean()),
    }


def _compared_rows(
    data: ImageData, seed: int, most: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of equally many training and test images, at most `most`, drawn with the run's seed."""
    training = np.concatenate([data.rows["labelled"], data.rows["unlabelled"]])
    test = data.rows["test"]
    count = min(len(training), len(test), most or len(test))
    if count < 2:
        raise UserError(
            f"{data.spec.data.name} has {len(test)} test images: a distance needs 2 or more; "
            "choose data.test=N when training"
        )
    random = stream(seed, "real images")
    return random.permutation(training)[:count], random.permutation(test)[:count]


def _images(data: ImageData, rows: NDArray[np.int64]) -> Tensor:
    return to_float(torch.from_numpy(data.decoded(rows)).permute(0, 3, 1, 2))


@torch.no_grad()
def _judged(network: Any, images: Tensor) -> Judged:
    features, probabilities = [], []
    for part in torch.split(images, BATCH):
        pooled = network.encoder.features(part)
        features.append(pooled.float())
        probabilities.append(network.head(pooled).float().softmax(1))
    return Judged(torch.cat(features).numpy(), torch.cat(probabilities).numpy())


def _leave_pictures(
    place: Path, drawn: Tensor, seen: NDArray[np.int64], classes: Sequence[str]
) -> None:
    place.mkdir(parents=True, exist_ok=True)
    rows = [pixels_of(row) for row in torch.split(drawn[:GRID], ACROSS)]
    save_picture(tiled(rows), place / "grid.png")
    save_picture(by_class(pixels_of(drawn[: len(seen)]), seen, classes), place / "classes.png")


def by_class(
    pixels: NDArray[np.uint8], seen: NDArray[np.int64], classes: Sequence[str]
) -> Image.Image:
    """A row for each class with the first samples that the judge assigns to it, unselected."""
    side = max(pixels.shape[1], 16)
    sheet = Image.new("RGB", (LABEL + OF_A_CLASS * side, len(classes) * side), "white")
    pen = ImageDraw.Draw(sheet)
    for row, name in enumerate(classes):
        font, words = fitted(f"{name}  {int((seen == row).sum())}", 12, LABEL - 8)
        pen.text((4, row * side + 1), words, fill="black", font=font)
        for column, sample in enumerate(np.flatnonzero(seen == row)[:OF_A_CLASS]):
            sheet.paste(Image.fromarray(pixels[sample]), (LABEL + column * side, row * side))
    return sheet

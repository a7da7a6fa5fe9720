"""Classifies images with a finished classifier, one batch after another.

Images are decoded in threads while the classifier works on earlier ones. Nothing is kept, so memory
does not grow with the number of images. torch is imported only when a run is opened;
`birds.use.quantize.predict` uses the rest without torch.
"""

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.core.machine import cores
from birds.core.spec import ImageChoices
from birds.core.store import RunFolder
from birds.data.decode import Look, Unreadable, decode_image, look_of
from birds.data.names import is_image, is_left_out
from birds.use.calibration import Calibration, softmax

BATCH = 64  # images in a batch
AHEAD = 4  # batches that are decoded ahead

Classify = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # uint8 (N, H, W, C) to logits (N, S)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """An image and its most probable classes, best first, with probabilities.

    logits: the classifier's outputs for the same classes. unsure: whether the highest probability
    is below the threshold. error: why the image could not be read; then there are no classes.
    """

    path: Path
    ranked: list[tuple[str, float]]
    unsure: bool = False
    error: str = ""
    logits: tuple[float, ...] = ()


def predict(folder: RunFolder, paths: Sequence[Path], top: int = 5) -> list[Prediction]:
    """The most probable classes of each image by a run's classifier, not calibrated.

    Raises UserError when the run is no finished classifier, or when a file is not an image.
    """
    from birds.use.networks import opened_classifier

    classify, look, classes = opened_classifier(folder)
    return list(stream_predictions(classify, look, classes, paths, Calibration(), top=top))


def stream_predictions(
    classify: Classify,
    look: Look,
    classes: Sequence[str],
    paths: Iterable[Path],
    calibration: Calibration,
    *,
    top: int = 5,
    skip_unreadable: bool = False,
) -> Iterator[Prediction]:
    """The most probable classes of each image, in order.

    Args:
        classify: uint8 (N, H, W, C) to logits (N, S).
        look: the preprocessing of the images.
        classes: the names of the S classes.
        paths: the files; they are read only when needed, so the iterable may be endless.
        calibration: the temperature, and the probability below which an image is unsure.
        top: how many classes of each image.
        skip_unreadable: a file that is not an image gives a prediction without classes.

    Raises UserError for a file that is not an image, unless these are skipped.
    """
    for batch, pixels in decoded_batches(paths, look):
        broken = {k: found for k, found in enumerate(pixels) if isinstance(found, Unreadable)}
        if broken and not skip_unreadable:
            raise next(iter(broken.values()))
        whole = [found for found in pixels if not isinstance(found, Unreadable)]
        rows: Iterator[Prediction] = iter(())
        if whole:
            logits = classify(np.stack(whole))
            named = [path for k, path in enumerate(batch) if k not in broken]
            rows = iter(ranked(named, logits, classes, top, calibration))
        for k, path in enumerate(batch):
            if k in broken:
                yield Prediction(path, [], error=broken[k].reason)
            else:
                yield next(rows)


def decoded_batches(
    paths: Iterable[Path], look: Look
) -> Iterator[tuple[list[Path], list[NDArray[np.uint8] | Unreadable]]]:
    """Batches of images in order; the next ones are decoded while the caller uses one."""
    waiting: deque[tuple[list[Path], Future[list[NDArray[np.uint8] | Unreadable]]]] = deque()
    with ThreadPoolExecutor(cores()) as pool:
        for batch in _batches(paths, BATCH if look.size else 1):
            waiting.append((batch, pool.submit(_decoded, batch, look)))
            if len(waiting) > AHEAD:
                first, pixels = waiting.popleft()
                yield first, pixels.result()
        while waiting:
            first, pixels = waiting.popleft()
            yield first, pixels.result()


def _batches(paths: Iterable[Path], length: int) -> Iterator[list[Path]]:
    batch: list[Path] = []
    for path in paths:
        batch.append(path)
        if len(batch) == length:
            yield batch
            batch = []
    if batch:
        yield batch


def _decoded(paths: Sequence[Path], look: Look) -> list[NDArray[np.uint8] | Unreadable]:
    found: list[NDArray[np.uint8] | Unreadable] = []
    for path in paths:
        try:
            found.append(decode_image(path, **look._asdict()))
        except Unreadable as complaint:
            found.append(complaint)
    return found


def read_images(paths: Sequence[Path], image: ImageChoices) -> NDArray[np.uint8]:
    """The images as in training, uint8 (N, size, size, channels).

    Raises UserError for a file that is not an image.
    """
    chosen = look_of(image)._asdict()
    return np.stack([decode_image(path, **chosen) for path in paths])


def ranked(
    paths: Sequence[Path],
    logits: NDArray[np.float32],
    classes: Sequence[str],
    top: int = 5,
    calibration: Calibration | None = None,
) -> list[Prediction]:
    """The `top` most probable classes of each image with probabilities, from logits (N, S)."""
    calibration = calibration or Calibration()
    probability = softmax(logits, calibration.temperature)
    best = np.argsort(-probability, axis=1, kind="stable")[:, :top]
    predictions = []
    for path, row, chances, order in zip(paths, logits, probability, best, strict=True):
        named = [(classes[k], float(chances[k])) for k in order]
        is_unsure = named[0][1] < calibration.unsure_below
        said = tuple(float(row[k]) for k in order)
        predictions.append(Prediction(path, named, is_unsure, logits=said))
    return predictions


def image_files(places: Iterable[Path]) -> Iterator[Path]:
    """The given files, and every image file in the given folders, at any depth.

    Folders are read only when needed, each in the order of names; hidden files and the system's
    trash are left out. Raises UserError when a folder cannot be read.
    """
    for place in places:
        if place.is_dir():
            yield from _images_below(place)
        else:
            yield place


def _images_below(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}") from None
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if not is_left_out(entry.name):
                yield from _images_below(Path(entry.path))
        elif is_image(entry.name):
            yield Path(entry.path)

"""The format of MNIST: four files with the images and labels of training and test, gzipped or not.

Images are named `train/000123` and `test/000123`. If the training images are missing, the t10k
images are a data set of their own, without parts.
"""

import gzip
import hashlib
import math
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birds.core.errors import UserError
from birds.core.spec import NUMBERS_ARE_NAMES, Choices
from birds.data.contents import Contents
from birds.data.decode import Look, Unreadable, resized
from birds.data.files import root_folder
from birds.data.notes import Notes
from birds.data.sources import Item, Scan

PREFIXES = {"train": "train", "test": "t10k"}
UNSIGNED_BYTES = 8  # the type code of images and labels


class Idx:
    """The images of idx files, uint8 of shape (N, h, w, 1) or (N, h, w, 3)."""

    class Options(Choices):
        """root: the folder of the files. names: class names for the labels 0, 1, ..."""

        model_config = NUMBERS_ARE_NAMES

        root: str | None = None
        names: tuple[str, ...] = ()
        hint: str = ""

    def __init__(self, options: Options) -> None:
        self.root = root_folder(options.root, name="idx", hint=options.hint)
        self.options = options

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options,)

    @property
    def place(self) -> str:
        """The folder of the files."""
        return str(self.root)

    def prepare(self) -> None:
        """Does nothing: the files exist."""

    def scan(self) -> Scan:
        """Every image with its label and part. Raises UserError for damaged files."""
        parts = {part: _read_part(self.root, part) for part in self._images}
        most = max((int(labels.max(initial=0)) for labels in parts.values()), default=0)
        names = self._names(most)
        alone = len(parts) == 1
        items = []
        for part, labels in parts.items():
            if len(labels) != len(self._images[part]):
                raise UserError(
                    f"{self.root} has {len(self._images[part])} images and {len(labels)} labels of "
                    f"{PREFIXES[part]}: the numbers do not match; download both files again"
                )
            own = None if alone else part
            rows = enumerate(labels.tolist())
            items += [Item(f"{part}/{row:06d}", names[label], own) for row, label in rows]
        return Scan(items, Notes())

    def _names(self, most: int) -> Sequence[str]:
        given = self.options.names
        if not given:
            digits = len(str(most))
            return [f"{label:0{digits}d}" for label in range(most + 1)]
        if len(given) <= most:
            raise UserError(
                f"data.names has {len(given)} names, but {self.root} has labels up to {most}: give "
                f"{most + 1} names or none"
            )
        return given

    @cached_property
    def _images(self) -> dict[str, NDArray[np.uint8]]:
        """The images (N, h, w, c) of each part."""
        if not self.root.is_dir():
            raise UserError(f"data.root={self.root} is not a folder; give the folder of idx files")
        images = {}
        for part, prefix in PREFIXES.items():
            file = _find(self.root, f"{prefix}-images", 3)
            if file is not None:
                images[part] = _as_images(file, _read(file))
        if not images:
            raise UserError(
                f"data.root={self.root} contains no idx images: expected train-images-idx3-ubyte "
                "or t10k-images-idx3-ubyte, gzipped or not"
            )
        return images

    def contents(self, ids: Sequence[str], cache_dir: Path | None) -> dict[str, Contents]:
        """The hash of each image's pixels; `cache_dir` is not used."""
        found = {}
        for name in ids:
            image = self._image(name)
            height, width, channels = image.shape
            sha = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()[:16]
            mode = "L" if channels == 1 else "RGB"
            found[name] = Contents(image.size, 0, sha, "", "", width, height, mode)
        return found

    def decode(self, id: str, look: Look) -> NDArray[np.uint8]:
        """One image as uint8 (h, w, c). Raises Unreadable for an unknown image."""
        try:
            image = self._image(id)
        except (KeyError, IndexError, ValueError):
            raise Unreadable(f"{self.root}/{id}", "there is no such image") from None
        return _seen(image[None], look)[0] if _fits(image, look) else _resized(image, look)

    def decode_many(self, ids: Sequence[str], look: Look) -> NDArray[np.uint8] | None:
        """Many images at once (N, h, w, c) if they need no resizing; else None."""
        if not ids or not all(_fits(images[:1][0], look) for images in self._images.values()):
            return None
        first = self._image(ids[0])
        gathered = np.empty((len(ids), *first.shape), np.uint8)
        names = np.array(ids)
        for part, images in self._images.items():
            here = np.flatnonzero(np.char.startswith(names, f"{part}/"))
            rows = [int(ids[k].partition("/")[2]) for k in here.tolist()]
            gathered[here] = images[rows]
        return _seen(gathered, look)

    def _image(self, id: str) -> NDArray[np.uint8]:
        part, _, row = id.partition("/")
        return np.asarray(self._images[part][int(row)])


def _fits(image: NDArray[np.uint8], look: Look) -> bool:
    same = image.shape[:2] == (look.size, look.size) and look.crop_pct == 1
    return look.size is None or same


def _seen(images: NDArray[np.uint8], look: Look) -> NDArray[np.uint8]:
    """Images (N, h, w, c) with the look's number of channels."""
    if images.shape[-1] == look.channels:
        return images
    if look.channels == 3:
        return np.repeat(images, 3, axis=-1)
    greys = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
    return np.stack(greys)[..., None]


def _resized(image: NDArray[np.uint8], look: Look) -> NDArray[np.uint8]:
    assert look.size is not None
    picture = resized(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), look)
    pixels = np.asarray(picture).reshape(1, look.size, look.size, image.shape[-1])
    return np.asarray(_seen(pixels, look)[0])


def _find(root: Path, stem: str, dimensions: int) -> Path | None:
    """The file of images or labels, under either of the names in use, gzipped or not."""
    for name in (f"{stem}-idx{dimensions}-ubyte", f"{stem}.idx{dimensions}-ubyte"):
        for file in (root / name, root / f"{name}.gz"):
            if file.is_file():
                return file
    return None


def _read_part(root: Path, part: str) -> NDArray[np.uint8]:
    """The labels (N,) of one part."""
    prefix = PREFIXES[part]
    file = _find(root, f"{prefix}-labels", 1)
    if file is None:
        raise UserError(
            f"{root} has {prefix}-images but no {prefix}-labels-idx1-ubyte: put the labels into "
            "the same folder"
        )
    labels = _read(file)
    if labels.ndim != 1:
        raise UserError(f"{file} has {labels.ndim} dimensions, labels have 1: download it again")
    return labels


def _as_images(file: Path, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or values.shape[-1] not in (1, 3) or 0 in values.shape[1:]:
        raise UserError(
            f"{file} has the shape {values.shape}: images have (count, height, width), or also a "
            "last dimension of 1 or 3 channels"
        )
    return values


def _read(file: Path) -> NDArray[np.uint8]:
    """The array in an idx file. Raises UserError if the file is damaged."""
    again = "download the file again"
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{file} is incomplete or damaged ({error}): {again}") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}; {again}") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != UNSIGNED_BYTES:
        raise UserError(f"{file} is not an idx file of unsigned bytes: {again}")
    start = 4 + 4 * data[3]
    shape = tuple(np.frombuffer(data[4:start], ">u4").tolist()) if len(data) >= start else ()
    if len(shape) != data[3] or len(data) - start != math.prod(shape):
        held = max(0, len(data) - start)
        raise UserError(
            f"{file} contains {held} bytes, but its header says {shape or 'more'}: it is "
            f"incomplete or damaged; {again}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)

"""Small copies of images beside a run, so that its pictures need no file of the data set.

An image of an idx file has no file of its own, and a data set may lie on another machine.
"""

import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birds.core.store import write_atomically

SIDE = 96  # pixels, at most
BROKEN = (OSError, EOFError, ValueError, KeyError, BadZipFile, zlib.error)


def save_thumbnails(file: Path, pixels: Mapping[str, NDArray[np.uint8]], side: int = SIDE) -> None:
    """Write images, each uint8 (H, W, C) of one size, by their names; larger ones are made smaller.

    Grey images stay grey.
    """
    small = [_small(image, side) for image in pixels.values()]
    arrays: dict[str, Any] = {"image": np.array(list(pixels)), "pixels": np.array(small, np.uint8)}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, partial(np.savez_compressed, **arrays))


def _small(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    if image.shape[0] <= side:
        return image
    grey = image.shape[2] == 1
    shown = Image.fromarray(image[..., 0] if grey else image)
    resized = np.asarray(shown.resize((side, side), Image.Resampling.LANCZOS))
    return resized[..., None] if grey else resized


def read_thumbnails(file: Path) -> dict[str, Image.Image]:
    """The small copies by the names of the images, in colour; none where there are none."""
    try:
        with np.load(file, allow_pickle=False) as saved:
            names = saved["image"].tolist()
            pixels = saved["pixels"]
    except BROKEN:
        return {}
    if pixels.ndim != 4 or len(pixels) != len(names):
        return {}
    shown = {}
    for name, image in zip(names, pixels, strict=True):
        plain = image[..., 0] if image.shape[-1] == 1 else image
        shown[name] = Image.fromarray(plain).convert("RGB")
    return shown

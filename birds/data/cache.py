"""Every photo decoded once: a memory-mapped uint8 array that all runs and processes on a host
share.

The file's name is a hash over the contents in order and the size, so a changed source has another
name; its length is checked at every start, so a file that was cut short is rebuilt. It is written
in order by plain writes, never through a map: a full disk is an error to report, not a bus error.
"""

import hashlib
import math
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from birds.core.store import locked, write_atomically
from birds.data.photos import Photos

DECODER = 1  # put up when decoding or resizing changes pixels
AHEAD = 64  # photos decoded before they are written


def decode_photo(path: Path, size: int) -> NDArray[np.uint8]:
    """One photo as (size, size, 3) RGB, its short side scaled and its middle kept. Palette and CMYK
    files too.
    """
    with Image.open(path) as image:
        image.draft("RGB", (size, size))
        upright = ImageOps.exif_transpose(image)
        return np.asarray(ImageOps.fit(_rgb(upright), (size, size), Image.Resampling.BICUBIC))


def _rgb(image: Image.Image) -> Image.Image:
    """RGB, with transparency shown on white and 16 bits of grey as 8 (Pillow alone would turn them
    white).
    """
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert(
            "RGB"
        )
    return image.convert("RGB")


def cache_file(photos: Photos, cache_dir: Path, size: int) -> Path:
    """Where the decoded photos of this data set lie at this size."""
    name = hashlib.sha256("\n".join([f"{DECODER}/{size}", *photos.content]).encode()).hexdigest()[
        :16
    ]
    return cache_dir / f"photos-{name}.uint8"


def decoded_photos(photos: Photos, cache_dir: Path, size: int) -> NDArray[np.uint8]:
    """All photos as a read-only map of shape (N, size, size, 3), in the order of `photos`; built
    when missing.

    Two processes that need it at once build it once. Raises UserError when the disk is full.
    """
    file, shape = cache_file(photos, cache_dir, size), (len(photos.paths), size, size, 3)
    if not _whole(file, shape):
        with locked(file.with_suffix(".lock")):
            if not _whole(file, shape):
                write_atomically(file, lambda out: _write_photos(out, photos, size))
    return np.memmap(file, dtype=np.uint8, mode="r", shape=shape)


def _whole(file: Path, shape: tuple[int, ...]) -> bool:
    return file.exists() and file.stat().st_size == math.prod(shape)


def _write_photos(out: IO[bytes], photos: Photos, size: int) -> None:
    ahead: deque[Future[NDArray[np.uint8]]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path in photos.paths:
            ahead.append(pool.submit(decode_photo, photos.root / path, size))
            if len(ahead) > AHEAD:  # decoding goes on while this one is written
                out.write(ahead.popleft().result().data)
        for one in ahead:
            out.write(one.result().data)

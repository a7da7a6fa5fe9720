"""The cache of decoded images: a memory-mapped uint8 array, shared by all runs on a machine.

The file's name is a hash of the contents in order and of the look, so a changed source gets a new
file. Its length is checked at every start, and an incomplete file is built again. It is written by
plain writes and not through the map, because a full disk would then cause a bus error instead of an
error message.
"""

import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.core.locks import locked
from birds.core.store import write_atomically
from birds.data.decode import Interpolation, Look, Resize, Unreadable
from birds.data.images import Images
from birds.data.sources import Source

DECODER = 2  # raise it when decoding or resizing changes pixels
AHEAD = 64  # images that are decoded ahead of writing
AT_ONCE = 4096  # images per call of a source that decodes many at once


def cache_file(images: Images, cache_dir: Path, look: Look) -> Path:
    """The path of the decoded images of this data set with this look."""
    usual = Look(look.size)
    beyond = look[3:] if look[3:] != usual[3:] else ()  # so that older caches keep their names
    words = "/".join(map(str, (DECODER, *look[:3], *beyond)))
    name = hashlib.sha256("\n".join([words, *images.content]).encode()).hexdigest()[:16]
    return cache_dir / f"images-{name}.uint8"


def decoded_images(
    images: Images,
    cache_dir: Path,
    size: int,
    channels: int = 3,
    resize: Resize = "crop",
    interpolation: Interpolation = "bicubic",
    crop_pct: float = 1.0,
) -> NDArray[np.uint8]:
    """All images as a read-only memory map (N, size, size, channels), in the order of `images`.

    A missing file is built first; two processes that need it at the same time build it once. Raises
    UserError when the disk is full, or when an image can no longer be read.
    """
    look = Look(size, channels, resize, interpolation, crop_pct)
    file = cache_file(images, cache_dir, look)
    shape = (len(images.ids), size, size, channels)
    if not _whole(file, shape):
        with locked(file.with_suffix(".lock")):
            if not _whole(file, shape):
                write_atomically(file, lambda out: _write_images(out, images, look))
    return np.memmap(file, dtype=np.uint8, mode="r", shape=shape)


def _whole(file: Path, shape: tuple[int, ...]) -> bool:
    return file.exists() and file.stat().st_size == math.prod(shape)


def _write_images(out: IO[bytes], images: Images, look: Look) -> None:
    try:
        for pixels in decoded_in_order(images.source, images.ids, look):
            out.write(np.ascontiguousarray(pixels).data)
    except Unreadable as complaint:
        raise UserError(
            f"{complaint}: it changed since the data set was read; repair it and start again"
        ) from None


def decoded_in_order(source: Source, ids: Sequence[str], look: Look) -> Iterator[NDArray[np.uint8]]:
    """Images (h, w, c), or several at once (n, h, w, c), in order. Raises Unreadable."""
    many: Callable[..., NDArray[np.uint8] | None] | None = getattr(source, "decode_many", None)
    first = many(ids[:AT_ONCE], look) if many else None
    if many is None or first is None:
        yield from _one_by_one(source, ids, look)
        return
    yield first
    for start in range(AT_ONCE, len(ids), AT_ONCE):
        block = many(ids[start : start + AT_ONCE], look)
        assert block is not None
        yield block


def _one_by_one(source: Source, ids: Sequence[str], look: Look) -> Iterator[NDArray[np.uint8]]:
    ahead: deque[Future[NDArray[np.uint8]]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name in ids:
            ahead.append(pool.submit(source.decode, name, look))
            if len(ahead) > AHEAD:  # decoding continues while this image is used
                yield ahead.popleft().result()
        for waiting in ahead:
            yield waiting.result()

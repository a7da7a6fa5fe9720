"""Descriptors of images for encoders that read images in their own size: computed once, kept on
disk.

The file's name is a hash of the images, of the kind of descriptors and of the noise, so every
vocabulary, matcher, pyramid, seed and split shares it. If several processes need the same file, one
of them makes it. Descriptors are written in order and read through a memory map.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from birds.core.locks import locked
from birds.core.machine import cores
from birds.core.parts import part_class
from birds.core.randomness import stream
from birds.core.store import write_atomically
from birds.encoders._own_size import Description, OwnSizeEncoder
from birds.methods import Job

VERSION = 1
AHEAD = 64  # how many images are described before their descriptors are written


class Descriptions(Sequence[Description]):
    """The descriptions of N images, in order.

    Args:
        place: the positions of the descriptors, image after image, (T, 2).
        values: the descriptors (T, D), uint8 or float32.
        starts: the index of each image's first descriptor, and T as the last value, (N + 1,).
        chosen: which of the images these are; by default all.
    """

    def __init__(
        self,
        place: Float[np.ndarray, "T 2"],
        values: NDArray[Any],
        starts: NDArray[np.int64],
        chosen: NDArray[np.int64] | None = None,
    ) -> None:
        self._place = place
        self._values = values
        self._starts = starts
        self._chosen = np.arange(len(starts) - 1) if chosen is None else chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, row: Any) -> Any:
        inside = slice(*self._starts[self._chosen[row] + np.array([0, 1])])
        return Description(self._place[inside], np.asarray(self._values[inside]))

    def of(self, rows: NDArray[np.int64]) -> "Descriptions":
        """The descriptions of some of these images."""
        return Descriptions(self._place, self._values, self._starts, self._chosen[rows])

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many descriptors each image has, (N,)."""
        counts: NDArray[np.int64] = np.diff(self._starts)[self._chosen]
        return counts

    def drawn(self, most: int, random: np.random.Generator) -> NDArray[Any]:
        """At most `most` descriptors (S, D) of all these images, drawn uniformly without
        replacement.
        """
        counts = self.counts
        total = int(counts.sum())
        places = np.arange(total)
        if total > most:
            places = np.sort(random.choice(total, most, replace=False))
        first = np.concatenate([[0], np.cumsum(counts)])
        image = np.searchsorted(first, places, side="right") - 1
        inside = places - first[image]
        return np.asarray(self._values[self._starts[self._chosen[image]] + inside])


def described(
    encoder: OwnSizeEncoder, job: Job, rows: NDArray[np.int64], noise: float = 0.0
) -> Descriptions:
    """The descriptions of these rows, which belong to the data set or all to the wider pool.

    With `noise`, that fraction of their pixels is replaced first, with the data set's random seed.
    """
    name = _name(job, rows, noise)
    index = job.runtime.cache_dir / f"descriptions-{name}.npz"
    values = index.with_suffix(".values")
    if not index.exists():
        with locked(index.with_suffix(".lock")):
            if not index.exists():
                _write(encoder, job, rows, noise, index, values)
    with np.load(index, allow_pickle=False) as saved:
        place, starts, shape = saved["place"], saved["starts"], tuple(saved["shape"])
        kind = np.dtype(str(saved["dtype"]))
    if not len(place):
        return Descriptions(place, np.zeros(shape, kind), starts)
    return Descriptions(place, np.memmap(values, kind, "r", shape=shape), starts)


def _name(job: Job, rows: NDArray[np.int64], noise: float) -> str:
    encoder = part_class("encoder", job.spec.encoder.place)
    options = encoder.Options.model_validate(job.spec.encoder.options)
    digest = hashlib.sha256(f"{VERSION}\n{job.spec.encoder.place}\n{noise}\n".encode())
    digest.update(json.dumps(encoder.described_by(options), sort_keys=True).encode())
    if noise:
        digest.update(f"{job.spec.data.seed}".encode() + rows.tobytes())
    for row in rows.tolist():
        digest.update(job.data.content(row).encode())
    return digest.hexdigest()[:20]


def _write(
    encoder: OwnSizeEncoder,
    job: Job,
    rows: NDArray[np.int64],
    noise: float,
    index: Path,
    values: Path,
) -> None:
    """Describe images and write both files. The index is last: it marks them as complete."""
    places: list[NDArray[np.float32]] = []
    kind: list[NDArray[Any]] = []

    def write(file: IO[bytes]) -> None:
        for seen in _in_order(encoder, job, rows, noise):
            file.write(np.ascontiguousarray(seen.values).data)
            places.append(seen.place)
            kind[:] = [seen.values[:0]]

    index.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(values, write)
    starts = np.concatenate([[0], np.cumsum([len(place) for place in places])]).astype(np.int64)
    arrays: dict[str, Any] = {
        "place": np.concatenate(places),
        "starts": starts,
        "shape": np.array([starts[-1], kind[0].shape[1]]),
        "dtype": np.array(str(kind[0].dtype)),
    }
    write_atomically(index, partial(np.savez, **arrays))


def _in_order(
    encoder: OwnSizeEncoder, job: Job, rows: NDArray[np.int64], noise: float
) -> Iterator[Description]:
    """Decode and describe images in parallel, one thread a core; OpenCV releases Python's lock."""

    def seen(row: int) -> Description:
        image = job.data.at_own_size(row, channels=1)[..., 0]
        return encoder.describe(peppered(image, noise, job.spec.data.seed, row))

    ahead: deque[Future[Description]] = deque()
    with ThreadPoolExecutor(cores()) as pool:
        for row in rows.tolist():
            ahead.append(pool.submit(seen, row))
            if len(ahead) > AHEAD:  # the next image is described while this one is written
                yield ahead.popleft().result()
        for waiting in ahead:
            yield waiting.result()


def peppered(
    image: UInt8[np.ndarray, "h w"], noise: float, seed: int, row: int
) -> UInt8[np.ndarray, "h w"]:
    """The image with a fraction `noise` of its pixels replaced, half by black and half by white.

    The random draw depends on the data set's seed and the row. Pixels that are replaced at one
    noise level are also replaced at every higher level.
    """
    if not noise:
        return np.ascontiguousarray(image)
    draw = stream(seed, "test noise", row).random(image.shape, dtype=np.float32)
    replaced = image.copy()
    replaced[draw < noise / 2] = 0
    replaced[draw >= 1 - noise / 2] = 255
    return replaced

"""The photos behind a finished run, found again: those that calibrate, and those that judge.

A run's record says what its photos are (a digest over their contents) and where they lay; another place can be given,
and photos that are not the same are refused by the digest.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birds.data.cache import decoded_photos
from birds.data.photos import Photos
from birds.data.prepare import load_photos
from birds.data.split import draw_split
from birds.randomness import stream
from birds.spec import ClassifySpec, Refused, Runtime
from birds.store import RunFolder


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A data set's decoded photos, uint8 (N, size, size, 3), and the rows of those that calibrate.

    They are unlabelled training photos of the run's own split.
    """

    photos: Photos
    pixels: NDArray[np.uint8]
    calibration: NDArray[np.int64]

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The photos of some rows, in memory."""
        return np.ascontiguousarray(self.pixels[rows])


def evidence(
    folder: RunFolder,
    spec: ClassifySpec,
    *,
    calibration: int,
    data_root: Path | None = None,
    cache_dir: Path | None = None,
) -> Evidence:
    """The photos of a run, from the image cache (built when it is gone).

    Args:
        folder: the run.
        spec: its spec.
        calibration: how many unlabelled training photos to draw, seeded by the run; all when there are fewer.
        data_root: where the photos lie, if not where they lay when the run was made.
        cache_dir: the same for the image cache.

    Raises Refused when `calibration` leaves none, or the photos cannot be found or have changed.
    """
    if calibration < 1:
        raise Refused(
            f"--calibration {calibration}: int8 needs photos to set its ranges; choose 1 or more, such as 256"
        )
    runtime = Runtime(
        runs_dir=folder.path.parent,
        cache_dir=cache_dir or _recorded(folder, "cache_dir") or folder.path.parent / "cache",
        data_root=data_root or _found_root(folder, spec),
        skip_unreadable=True,  # if the run did not skip any, the digest says so
    )
    photos = load_photos(spec.data, runtime)
    rows = photos.rows("train")
    split = draw_split(rows, photos.label[rows], split=spec.split, seed=spec.seed, species=photos.species)
    order = stream(spec.seed, "calibration").permutation(len(split.unlabelled))
    drawn = split.unlabelled[np.sort(order[:calibration])]
    return Evidence(photos, decoded_photos(photos, runtime.cache_dir, spec.data.size), drawn)


def _found_root(folder: RunFolder, spec: ClassifySpec) -> Path:
    found = _recorded(folder, "data_root")
    if found is None:
        raise Refused(f"cannot find the photos of run {folder.key} ({spec.data.name}): say where, --data-root FOLDER")
    return found


def _recorded(folder: RunFolder, name: str) -> Path | None:
    """A folder that the run used, by its record, if it is still there."""
    record = folder.record()
    recorded = record.model_dump().get(f"runtime.{name}") if record else None
    return Path(recorded) if recorded and Path(recorded).is_dir() else None

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
from birds.data.module import BirdsDataModule
from birds.data.prepare import load_photos
from birds.data.split import draw_split
from birds.randomness import stream
from birds.spec import ClassifySpec, Refused, Runtime
from birds.store import RunFolder


@dataclasses.dataclass(frozen=True)
class Order:
    """What to make: the backend, how many photos calibrate, and where the photos lie if not where they lay."""

    backend: str = "onnxruntime"
    calibration: int = 256
    data_root: Path | None = None
    cache_dir: Path | None = None


def evidence(folder: RunFolder, spec: ClassifySpec, order: Order) -> tuple[BirdsDataModule, NDArray[np.int64]]:
    """The photos of a run, from the image cache (built when it is gone), and the rows of those that calibrate.

    These are unlabelled training photos of the run's own split, as many as `order` says, drawn with the run's seed; all
    of them when there are fewer. Raises Refused when none is asked for, or the photos cannot be found or have changed.
    """
    if order.calibration < 1:
        raise Refused(
            f"--calibration {order.calibration}: int8 needs photos to set its ranges; choose 1 or more, such as 256"
        )
    root = order.data_root or _recorded(folder, "data_root")
    if root is None:
        raise Refused(f"cannot find the photos of run {folder.key} ({spec.data.name}): say where, --data-root FOLDER")
    cache = order.cache_dir or _recorded(folder, "cache_dir") or folder.path.parent / "cache"
    # photos are skipped if unreadable: when the run did not skip any, the digest says so
    runtime = Runtime(runs_dir=folder.path.parent, cache_dir=cache, data_root=root, skip_unreadable=True)
    photos = load_photos(spec.data, runtime)
    rows = photos.rows("train")
    split = draw_split(rows, photos.label[rows], split=spec.split, seed=spec.seed, species=photos.species)
    data = BirdsDataModule(spec, photos, decoded_photos(photos, cache, spec.data.size), split)
    shuffled = stream(spec.seed, "calibration").permutation(len(split.unlabelled))
    return data, split.unlabelled[np.sort(shuffled[: order.calibration])]


def _recorded(folder: RunFolder, name: str) -> Path | None:
    """A folder that the run used, by its record, if it is still there."""
    record = folder.record()
    recorded = record.model_dump().get(f"runtime.{name}") if record else None
    return Path(recorded) if recorded and Path(recorded).is_dir() else None

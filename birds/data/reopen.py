"""The photos of a finished run once more, from where its record says they lay, or from where they
lie now.
"""

from pathlib import Path

from birds.core.spec import RunSpec, Runtime, UserError
from birds.core.store import RunFolder
from birds.data.cache import decoded_photos
from birds.data.module import BirdsDataModule
from birds.data.prepare import load_photos
from birds.data.split import draw_split


def reopened(
    folder: RunFolder, spec: RunSpec, data_root: Path | None = None, cache_dir: Path | None = None
) -> BirdsDataModule:
    """The photos and the cut of a run, from the image cache (built when it is gone), without a
    wider pool.

    Raises UserError when the photos cannot be found or have changed.
    """
    root = data_root or _recorded(folder, "data_root")
    if root is None:
        raise UserError(
            f"cannot find the photos of run {folder.key} ({spec.data.name}): say where, --data-root FOLDER"
        )
    cache = cache_dir or _recorded(folder, "cache_dir") or folder.path.parent / "cache"
    # photos are skipped if unreadable: when the run did not skip any, the digest says so
    runtime = Runtime(
        runs_dir=folder.path.parent, cache_dir=cache, data_root=root, skip_unreadable=True
    )
    photos = load_photos(spec.data, runtime)
    rows = photos.rows("train")
    split = draw_split(
        rows, photos.label[rows], split=spec.split, seed=spec.seed, species=photos.species
    )
    return BirdsDataModule(spec, photos, decoded_photos(photos, cache, spec.data.size), split)


def _recorded(folder: RunFolder, name: str) -> Path | None:
    """A folder that the run used, by its record, if it is still there."""
    record = folder.record()
    recorded = record.model_dump().get(f"runtime.{name}") if record else None
    return Path(recorded) if recorded and Path(recorded).is_dir() else None

"""Opens the images and the split of a run, when it starts or after it is finished."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birds.core.randomness import stream
from birds.core.spec import Part, RunSpec, Runtime, UserError
from birds.core.store import RunFolder
from birds.data.images import Images
from birds.data.module import NOISY, ImageData
from birds.data.pool import read_pool
from birds.data.prepare import READER, chosen_pool, cut_as_asked, decode_as_asked, load_images
from birds.data.split import Split


def opened(spec: RunSpec, runtime: Runtime, accumulate: int = 1) -> tuple[ImageData, Split]:
    """A run's images as batches, with its pool, and the split.

    Raises UserError if the images cannot be found or have changed.
    """
    images = load_images(spec.data, runtime)
    return _beside(chosen_pool(spec, images, runtime), spec, images, runtime, accumulate)


def _beside(
    pool: Images | None, spec: RunSpec, images: Images, runtime: Runtime, accumulate: int = 1
) -> tuple[ImageData, Split]:
    """The images together with those of a pool, and the split."""
    cut = cut_as_asked(spec, images)
    pixels = decode_as_asked(images, spec, runtime.cache_dir)
    more = decode_as_asked(pool, spec, runtime.cache_dir) if pool else None
    data = ImageData(spec, images, pixels, cut, accumulate, more, pool)
    data.rows[NOISY] = noisy_rows(images, spec.data.seed, runtime.robustness_images)
    return data, cut


def noisy_rows(images: Images, seed: int, most: int | None) -> NDArray[np.int64]:
    """The rows of the test images that are also tested under noise, ascending: at most `most`.

    They are drawn with the data set's seed, so every run sees the same ones, and a smaller sample
    is a part of a larger one.
    """
    rows = images.rows("test")
    drawn = stream(seed, "noisy images").permutation(len(rows))[:most]
    return rows[np.sort(drawn)]


def reopened(
    folder: RunFolder,
    spec: RunSpec,
    data_root: Path | None = None,
    cache_dir: Path | None = None,
    *,
    with_pool: bool = False,
) -> ImageData:
    """The images and the split of a finished run, from the image cache (rebuilt if missing).

    Args:
        folder, spec: the run. data_root, cache_dir: where images and cache are, if they moved.
        with_pool: add the images of the run's pool, or of `data.unlabelled` if it used none.

    Raises UserError if the images cannot be found or have changed.
    """
    record = folder.record()
    recorded = record.model_dump() if record else {}
    source = Part.model_validate(recorded.get("runtime.source") or {"name": "folder"})
    root = data_root or source.options.get("root")
    if root is None or not Path(str(root)).is_dir():
        raise UserError(
            f"cannot find the images of run {folder.key} ({spec.data.name}): give their folder "
            "with --data-root FOLDER"
        )
    source = source.model_copy(update={"options": source.options | {"root": str(root)}})
    cached = recorded.get("runtime.cache_dir")
    cache = cache_dir or (Path(cached) if cached and Path(cached).is_dir() else None)
    runtime = Runtime(
        runs_dir=folder.path.parent,
        cache_dir=cache or folder.path.parent / "cache",
        source=source,
        skip_unreadable=True,  # if the run did not skip any, the digest will differ
        allow_untested=True,
        **_as_recorded(recorded),
    )
    images = load_images(spec.data, runtime)
    pool = _pool_of(spec, images, runtime) if with_pool else None
    return _beside(pool, spec, images, runtime)[0]


def _as_recorded(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded pool, sample under noise and reader, except options that are relaxed here."""
    kept = [name for name in READER if name not in ("skip_unreadable", "allow_untested")]
    kept += ["pool_root", "robustness_images"]
    return {name: recorded.get(f"runtime.{name}") for name in kept}


def _pool_of(spec: RunSpec, images: Images, runtime: Runtime) -> Images | None:
    """The pool of a run or of a run that it needs; else the images of `data.unlabelled`."""
    for run in spec.lineage():
        if run.pool.name != "split":
            return chosen_pool(run, images, runtime)
    if runtime.pool_root is None:
        return None
    place, skip = str(runtime.pool_root), runtime.skip_unreadable
    return read_pool(place, images, runtime.cache_dir, key="data.unlabelled", skip_unreadable=skip)

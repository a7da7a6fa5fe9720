"""The images and the cut of a run: when it starts, and once more when it is finished."""

from pathlib import Path

from birds.core.spec import Part, RunSpec, Runtime, UserError
from birds.core.store import RunFolder
from birds.data.module import ImageData
from birds.data.prepare import decode_as_asked, load_images, load_pool
from birds.data.split import Split, cut_of


def opened(spec: RunSpec, runtime: Runtime, accumulate: int = 1) -> tuple[ImageData, Split]:
    """A run's images as batches, its wider pool included, and the cut.

    Raises UserError when they cannot be found or have changed.
    """
    images = load_images(spec.data, runtime)
    cut = cut_of(images, split=spec.split, labels_per_class=spec.labels_per_class, seed=spec.seed)
    pixels = decode_as_asked(images, spec, runtime.cache_dir)
    pool = load_pool(spec, images, runtime)
    pool_pixels = decode_as_asked(pool, spec, runtime.cache_dir) if pool else None
    return ImageData(spec, images, pixels, cut, accumulate, pool_pixels, pool), cut


def reopened(
    folder: RunFolder, spec: RunSpec, data_root: Path | None = None, cache_dir: Path | None = None
) -> ImageData:
    """The images and the cut of a finished run, from the image cache (built when it is gone),
    without a wider pool.

    `data_root` and `cache_dir` say where they lie by now, where that differs from the record.
    Raises UserError when the images cannot be found or have changed.
    """
    record = folder.record()
    recorded = record.model_dump() if record else {}
    source = Part.model_validate(recorded.get("runtime.source") or {"name": "folder"})
    root = data_root or source.options.get("root")
    if root is None or not Path(str(root)).is_dir():
        raise UserError(
            f"cannot find the images of run {folder.key} ({spec.data.name}): say where, "
            "--data-root FOLDER"
        )
    source = source.model_copy(update={"options": source.options | {"root": str(root)}})
    cached = recorded.get("runtime.cache_dir")
    cache = cache_dir or (Path(cached) if cached and Path(cached).is_dir() else None)
    runtime = Runtime(
        runs_dir=folder.path.parent,
        cache_dir=cache or folder.path.parent / "cache",
        source=source,
        skip_unreadable=True,  # when the run did not skip any, the digest says so
        allow_untested=True,
        join_alike=recorded.get("runtime.join_alike"),
    )
    narrow = spec.model_copy(update={"pool": type(spec.pool)()})
    return opened(narrow, runtime)[0]

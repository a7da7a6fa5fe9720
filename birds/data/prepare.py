"""Loads the images, pools and splits that a spec and a runtime choose."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birds.core.asked import AskedPool
from birds.core.parts import options_of, part_class
from birds.core.spec import DataChoices, Part, RunSpec, Runtime, UserError
from birds.data.cache import decoded_images
from birds.data.deal import read_images
from birds.data.images import Images
from birds.data.pool import read_pool
from birds.data.sources import Source
from birds.data.split import Split, cut_of

NAMED_POOLS = ("split", "all_classes")
READER = (  # options of the reader; their effect is part of the digest
    "skip_unreadable",
    "allow_untested",
    "join_alike",
    "keep_class",
    "min_images",
)


def create_source(part: Part, apart: Path | None = None) -> Source:
    """The prepared source of a part; for the embedded birds, the images are drawn.

    `apart` is a folder of unlabelled images that is read separately, even if it is in the source.
    """
    source: Source = part_class("source", part.place)(options_of("source", part))
    source.prepare()
    if apart is not None and hasattr(source, "apart"):
        source.apart = apart
    return source


def load_images(data: DataChoices, runtime: Runtime) -> Images:
    """The images of a spec, from their place on this machine.

    Raises UserError if they have changed since the run was planned.
    """
    images = read_images(
        create_source(runtime.source, runtime.pool_root),
        runtime.cache_dir,
        classes=data.classes,
        test=data.test,
        seed=data.seed,
        **{name: getattr(runtime, name) for name in READER},
    )
    if images.digest != data.digest:
        raise UserError(
            f"the images in {runtime.data_root or data.name} have changed since this run was "
            f"planned (digest {images.digest}, not {data.digest}); start it again"
        )
    return images


def find_pool(pool: str) -> Path | None:
    """The folder that `pool` names; None for split and all_classes."""
    return None if pool in NAMED_POOLS else Path(pool).expanduser().resolve()


def pool_images(
    asked: AskedPool,
    images: Images,
    cache_dir: Path,
    *,
    split: int,
    labels_per_class: int | None,
    seed: int,
    skip_unreadable: bool,
) -> Images | None:
    """The requested extra unlabelled images; None if there are none.

    `seed` is the seed of the data set: the size of a split does not depend on the split's seed.
    """
    beside = 0
    if asked.pollution:
        cut = cut_of(images, split=split, labels_per_class=labels_per_class, seed=0)
        beside = len(cut.unlabelled)
    return read_pool(
        asked.name,
        images,
        cache_dir,
        key=asked.key,
        pollution=asked.pollution,
        beside=beside,
        seed=seed,
        skip_unreadable=skip_unreadable,
    )


def chosen_pool(spec: RunSpec, images: Images, runtime: Runtime) -> Images | None:
    """The pool of a run; None if it has none.

    Raises UserError if its images have changed since the run was planned.
    """
    if spec.pool.name == "split":
        return None
    is_folder = spec.pool.name == "folder"
    name = str(runtime.pool_root) if is_folder else spec.pool.name
    key = "data.unlabelled" if is_folder else "pool"
    asked = AskedPool(name, key, spec.pool.pollution)
    pool = pool_images(
        asked,
        images,
        runtime.cache_dir,
        split=spec.split,
        labels_per_class=spec.labels_per_class,
        seed=spec.data.seed,
        skip_unreadable=runtime.skip_unreadable,
    )
    if pool is None or pool.digest != spec.pool.digest:
        raise UserError(
            f"the images of {key}={name} have changed since this run was planned; start it again"
        )
    return pool


def cut_as_asked(spec: RunSpec, images: Images) -> Split:
    """The split of a run's training images."""
    return cut_of(images, split=spec.split, labels_per_class=spec.labels_per_class, seed=spec.seed)


def decode_as_asked(images: Images, spec: RunSpec, cache_dir: Path) -> NDArray[np.uint8]:
    """All images in the size and channels of a run, uint8 (N, H, W, C), from the shared cache."""
    return decoded_images(images, cache_dir, **dict(spec.image))

"""From what a spec and a runtime choose to images that are there."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birds.core.parts import options_of, part_class
from birds.core.spec import DataChoices, Part, Pool, RunSpec, Runtime, UserError
from birds.data.cache import decoded_images
from birds.data.deal import read_images
from birds.data.images import Images
from birds.data.pool import read_pool
from birds.data.sources import Source

NAMED_POOLS = ("split", "all_classes")


def create_source(part: Part) -> Source:
    """The source of images that a part names, prepared: the embedded birds are rendered."""
    source: Source = part_class("source", part.place)(options_of("source", part))
    source.prepare()
    return source


def load_images(data: DataChoices, runtime: Runtime) -> Images:
    """The images that a spec chose, from where this machine has them.

    Raises UserError when they changed since the run was asked for.
    """
    images = read_images(
        create_source(runtime.source),
        runtime.cache_dir,
        classes=data.classes,
        test=data.test,
        seed=data.seed,
        skip_unreadable=runtime.skip_unreadable,
        allow_untested=runtime.allow_untested,
        join_alike=runtime.join_alike,
    )
    if images.digest != data.digest:
        raise UserError(
            f"the images in {runtime.data_root or data.name} changed since this run was asked for "
            f"(digest {images.digest}, not {data.digest}); ask again"
        )
    return images


def find_pool(pool: str) -> Path | None:
    """The folder that `pool` names; None for split and all_classes."""
    return None if pool in NAMED_POOLS else Path(pool).expanduser().resolve()


def load_pool(spec: RunSpec, images: Images, runtime: Runtime) -> Images | None:
    """The images of the wider pool that a run chose; None without one.

    Raises UserError when they changed since.
    """
    chosen: Pool = spec.pool
    if chosen.name == "split":
        return None
    asked = str(runtime.pool_root) if chosen.name == "folder" else chosen.name
    pool = read_pool(asked, images, runtime.cache_dir, skip_unreadable=runtime.skip_unreadable)
    if pool is None or pool.digest != chosen.digest:
        raise UserError(
            f"the images of pool={asked} changed since this run was asked for; ask again"
        )
    return pool


def decode_as_asked(images: Images, spec: RunSpec, cache_dir: Path) -> NDArray[np.uint8]:
    """All images in the size and channels of a run, uint8 (N, H, W, C), from the shared cache."""
    return decoded_images(images, cache_dir, **dict(spec.image))

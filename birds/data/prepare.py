"""From a configuration's `data` group to photos that are there: the embedded birds are rendered on
first use.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birds.core.spec import DataChoices, PretrainSpec, RunSpec, Runtime, UserError
from birds.data.cache import decoded_photos
from birds.data.photos import Photos, read_photos
from birds.data.pool import read_pool


def find_root(data: Mapping[str, Any]) -> Path:
    """The folder of photos that the `data` group names. Raises UserError when it names none."""
    if not data["root"]:
        raise UserError(
            f"data={data['name']} needs data.root=FOLDER"
            + (f": {data['hint']}" if data.get("hint") else "")
        )
    return Path(str(data["root"])).expanduser().resolve()


def ensure_rendered(data: Mapping[str, Any]) -> None:
    """Render the embedded birds into their root when `data` is the synthetic set and they are not
    there.
    """
    if data["name"] == "synthetic":
        from birds.data.synthetic import write_synthetic

        try:
            write_synthetic(find_root(data), seed=int(data["seed"]))
        except ValueError as error:
            raise UserError(str(error)) from None


def load_photos(data: DataChoices, runtime: Runtime) -> Photos:
    """The photos a spec chose, from where this machine has them. Raises UserError when they changed
    since.
    """
    chosen = data.model_dump(include={"species", "move_to_test", "seed"})
    photos = read_photos(
        runtime.data_root, runtime.cache_dir, **chosen, skip_unreadable=runtime.skip_unreadable
    )
    if photos.digest != data.digest:
        raise UserError(
            f"the photos in {runtime.data_root} changed since this run was asked for "
            f"(digest {photos.digest}, not {data.digest}); ask again"
        )
    return photos


def find_pool(pool: str) -> Path | None:
    """The folder that `pool` names; None for split and all_species."""
    return None if pool in ("split", "all_species") else Path(pool).expanduser().resolve()


def pool_pixels(spec: RunSpec, photos: Photos, runtime: Runtime) -> NDArray[np.uint8] | None:
    """The decoded photos of the wider pool that this run's pretraining chose; None without one.

    Raises UserError when they changed since.
    """
    pretraining = spec if isinstance(spec, PretrainSpec) else spec.pretrained
    if pretraining is None or pretraining.pool.name == "split":
        return None
    asked = str(runtime.pool_root) if pretraining.pool.name == "folder" else pretraining.pool.name
    pool = read_pool(asked, photos, runtime.cache_dir, skip_unreadable=runtime.skip_unreadable)
    if pool is None or pool.digest != pretraining.pool.digest:
        raise UserError(
            f"the photos of pool={asked} changed since this run was asked for; ask again"
        )
    return decoded_photos(pool, runtime.cache_dir, spec.data.size)

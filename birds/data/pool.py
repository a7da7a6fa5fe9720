"""A wider pool: unlabelled photos beside those of the split, for pretraining; never one that models
are judged on.

`all_species` takes the training photos of the species that were not selected, a folder every photo
below it. Photos are compared by the hash of their file with every validation and test photo of the
whole data set, selected or not.
"""

import os
from pathlib import Path

import numpy as np

from birds.core.spec import UserError
from birds.data.contents import read_contents
from birds.data.photos import Photos, is_photo, readable, scan_folder


def read_pool(
    pool: str, photos: Photos, cache_dir: Path, *, skip_unreadable: bool = False
) -> Photos | None:
    """The photos that `pool` adds to those of `photos`, each content once, in the order of hashes;
    None for split.

    `all_species` leaves out what is also a validation or test photo, and counts it in `notes`.
    Raises UserError for a folder that holds such a photo, for one without photos, for unreadable ones
    unless skipped, and for nothing new.
    """
    if pool == "split":
        return None
    scanned, _ = scan_folder(photos.root)
    judged = _judged(photos, [p.path for p in scanned if p.part != "train"], cache_dir)
    root = photos.root if pool == "all_species" else Path(pool).expanduser().resolve()
    if pool == "all_species":
        selected = frozenset(photos.species)
        paths = [p.path for p in scanned if p.part == "train" and p.species not in selected]
    else:
        paths = _photos_below(root)
    contents = read_contents(root, paths, cache_dir)
    paths = readable(paths, contents, root, skip=skip_unreadable)
    leaks = [path for path in paths if contents[path].sha in judged]
    if leaks and pool != "all_species":
        raise UserError(
            f"pool={pool} holds {len(leaks)} validation or test photos of {photos.root} ({leaks[0]} is one): "
            "take them out, since pretraining must not see what models are judged on"
        )
    known = judged | set(photos.content)
    added = {
        contents[path].sha: path for path in reversed(paths) if contents[path].sha not in known
    }
    if not added:
        raise UserError(
            f"pool={pool} adds no photo to those of the split; choose pool=split, or another folder"
        )
    shas = sorted(added)
    return Photos(
        root=root,
        species=("",),
        paths=tuple(added[sha] for sha in shas),
        label=np.zeros(len(shas), np.int64),
        part=np.full(len(shas), "pool"),
        content=tuple(shas),
        notes={"pool_dropped": len(paths) - len(added)},
    )


def _judged(photos: Photos, elsewhere: list[str], cache_dir: Path) -> set[str]:
    """Hashes of all validation and test photos: of those dealt out, and of every species in the
    folder.
    """
    dealt = {sha for sha, part in zip(photos.content, photos.part, strict=True) if part != "train"}
    return dealt | {
        contents.sha for contents in read_contents(photos.root, elsewhere, cache_dir).values()
    }


def _photos_below(root: Path) -> list[str]:
    if not root.is_dir():
        raise UserError(
            f"pool={root} is no folder; choose split, all_species or a folder of photos"
        )
    found = [
        os.path.join(above, name)
        for above, _, names in os.walk(root)
        for name in names
        if is_photo(name)
    ]
    if not found:
        raise UserError(f"pool={root} holds no photo")
    return sorted(os.path.relpath(path, root) for path in found)

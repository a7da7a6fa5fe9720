"""Extra unlabelled images ("the pool"), without any validation or test image.

`data.unlabelled=FOLDER` (or `pool=FOLDER`) uses every image below a folder. `pool=all_classes` uses
the training images of the classes that were not selected. `data.pollution=N` uses as many of those
as make up N per cent of all unlabelled images. Each image is compared by hash with all validation
and test images of the whole data set, of selected classes or not. Only runs that learn from
unlabelled images have the pool in their key.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from birds.core.errors import UserError
from birds.core.randomness import stream
from birds.data.contents import Contents
from birds.data.deal import readable, scanned
from birds.data.images import UNLABELLED, Images
from birds.data.notes import Notes
from birds.data.parts import JUDGING
from birds.data.sources import Scan, Source
from birds.data.tree import Tree


def read_pool(
    pool: str,
    images: Images,
    cache_dir: Path,
    *,
    key: str = "pool",
    pollution: int = 0,
    beside: int = 0,
    seed: int = 0,
    skip_unreadable: bool = False,
    join_alike: bool | None = None,
) -> Images | None:
    """The images that `pool` adds to `images`, each content once, in the order of hashes.

    Images that the data set already has, in any part, are left out. Returns None for split.

    Args:
        pool: split, all_classes or a folder.
        cache_dir: the folder for hashes.
        key: the key on the command line, for messages.
        pollution: with all_classes, the pool's percentage of unlabelled images; 0 takes all.
        beside: the number of unlabelled images of the split.
        seed: the seed of the polluting images; those of 25 per cent are among those of 50.

    Raises UserError for a folder without images or with unreadable ones (unless skipped), if there
    are no new images, or if there are too few for the pollution.
    """
    if pool == "split":
        return None
    scan = scanned(images.source, join_alike=join_alike)
    whole = pool == "all_classes"
    source = images.source if whole else Tree(Path(pool).expanduser().resolve(), key)
    found = _not_selected(scan, images) if whole else _unnamed(source.scan(), source, scan, images)
    added, contents, notes = _unknown(
        pool, key, found, source, images, scan, cache_dir, skip_unreadable
    )
    if pollution:
        added = _polluting(added, pollution, beside, seed)
    return _as_images(source, added, contents, notes)


def _unknown(
    pool: str,
    key: str,
    found: Scan,
    source: Source,
    images: Images,
    scan: Scan,
    cache_dir: Path,
    skip_unreadable: bool,
) -> tuple[dict[str, str], Mapping[str, Contents], Notes]:
    """The new images by content, the contents of all found images, and the notes."""
    candidates = [item.id for item in found.items]
    contents = source.contents(candidates, cache_dir)
    good = readable(candidates, contents, source, skip=skip_unreadable)
    skipped = [name for name in candidates if name not in good]
    notes = found.notes.having("unreadable_skipped", skipped)
    judged = _judged(images, scan, cache_dir)
    leaks = [name for name in good if contents[name].sha in judged]
    if leaks:
        notes = notes.having("pool_judged", leaks)
    fresh = [name for name in good if contents[name].sha not in judged]
    added = _new(f"{key}={pool}", fresh, contents, set(images.content))
    kept = frozenset(added.values())
    notes = notes.having("pool_dropped", (name for name in fresh if name not in kept))
    return added, contents, notes


def _unnamed(found: Scan, source: Source, scan: Scan, images: Images) -> Scan:
    """The images of a folder, without files to which the data set gives a label."""
    of_data, of_pool = getattr(images.source, "file", None), getattr(source, "file", None)
    if of_data is None or of_pool is None:
        return found
    selected = frozenset(images.classes)
    # Images of selected classes are found by content, those of other classes only by path.
    other = {
        str(of_data(item.id))
        for item in scan.items
        if item.label is not None and item.label not in selected
    }
    known = {item.id for item in found.items if str(of_pool(item.id)) in other}
    notes = found.notes.having("pool_dropped", sorted(known)) if known else found.notes
    return Scan([item for item in found.items if item.id not in known], notes)


def _new(
    asked: str, ids: list[str], contents: Mapping[str, Contents], known: set[str]
) -> dict[str, str]:
    """The images that are not known, by content, in the order of hashes."""
    # Of equal files the first is kept, so the last is inserted first.
    added = {contents[name].sha: name for name in reversed(ids) if contents[name].sha not in known}
    if not added:
        if asked.startswith("data.pollution"):
            raise UserError(
                "data.pollution uses training images of classes that are not selected, and this "
                "data set has none; choose fewer data.classes"
            )
        cure = "choose pool=split, or another folder"
        if asked.startswith("data.unlabelled"):
            cure = "choose another folder, or leave data.unlabelled out"
        raise UserError(
            f"{asked} adds no image: all of them are already in the data set, or are validation or "
            f"test images; {cure}"
        )
    return {sha: added[sha] for sha in sorted(added)}


def _polluting(added: dict[str, str], pollution: int, beside: int, seed: int) -> dict[str, str]:
    """A random, nested choice of images: `pollution` per cent of all unlabelled ones."""
    wanted = round(beside * pollution / (100 - pollution))
    if not wanted or wanted > len(added):
        most = 100 * len(added) // max(1, len(added) + beside)
        raise UserError(
            f"data.pollution={pollution} needs {wanted} images of other classes for "
            f"{beside} unlabelled ones, but the data set has {len(added)}: choose {most} or less, "
            "fewer data.classes, or another split"
        )
    shas = list(added)
    order = stream(seed, "pollution").permutation(len(shas))
    return {shas[k]: added[shas[k]] for k in sorted(order[:wanted].tolist())}


def _as_images(
    source: Source, added: dict[str, str], contents: Mapping[str, Contents], notes: Notes
) -> Images:
    scaled = [name for name in sorted(added.values()) if contents[name].scaled]
    return Images(
        source=source,
        classes=(),
        ids=tuple(added.values()),
        label=np.full(len(added), UNLABELLED),
        part=np.full(len(added), "pool"),
        content=tuple(added),
        notes=notes.having("scaled_greys", scaled),
    )


def _not_selected(scan: Scan, images: Images) -> Scan:
    """The training images of other classes, without groups that are in validation or test."""
    selected = frozenset(images.classes)
    parts = dict(zip(images.ids, images.part.tolist(), strict=True))
    judged = {item.group for item in scan.items if parts.get(item.id, item.part) in JUDGING}
    judged -= {None}
    items = [
        item
        for item in scan.items
        if item.part in ("train", None)
        and item.label is not None
        and item.label not in selected
        and item.group not in judged
    ]
    return Scan(items, Notes())


def _judged(images: Images, scan: Scan, cache_dir: Path) -> set[str]:
    """Hashes of all validation and test images: those of `images`, and those of every class in the
    source.
    """
    dealt = {sha for sha, part in zip(images.content, images.part, strict=True) if part != "train"}
    elsewhere = [item.id for item in scan.items if item.part in ("valid", "test")]
    return dealt | {one.sha for one in images.source.contents(elsewhere, cache_dir).values()}

"""A wider pool: unlabelled images beside those of the split, for pretraining; never one that models
are judged on.

`all_classes` takes the training images of the classes that were not selected, a folder every image
below it. Images are compared by their hash with every validation and test image of the whole data
set, selected or not.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from birds.core.errors import UserError
from birds.data.contents import Contents
from birds.data.deal import readable, scanned
from birds.data.files import Files, id_of
from birds.data.images import UNLABELLED, Images
from birds.data.names import is_image, is_left_out
from birds.data.notes import Notes, printable
from birds.data.sources import Item, Scan, Source


def read_pool(
    pool: str,
    images: Images,
    cache_dir: Path,
    *,
    skip_unreadable: bool = False,
    join_alike: bool | None = None,
) -> Images | None:
    """The images that `pool` adds to those of `images`, each content once, in the order of hashes;
    None for split.

    `all_classes` leaves out what is also a validation or test image, and counts it in the notes.
    Raises UserError for a folder that holds such an image, for one without images, for unreadable
    ones unless skipped, and for nothing new.
    """
    if pool == "split":
        return None
    scan = scanned(images.source, join_alike=join_alike)
    whole = pool == "all_classes"
    source = images.source if whole else Tree(Path(pool).expanduser().resolve())
    found = _not_selected(scan, images) if whole else source.scan()
    candidates = [item.id for item in found.items]
    contents = source.contents(candidates, cache_dir)
    good = readable(candidates, contents, source, skip=skip_unreadable)
    skipped = [name for name in candidates if name not in good]
    judged = _judged(images, scan, cache_dir)
    if not whole:
        _refuse_judged(pool, [name for name in good if contents[name].sha in judged], images)
    notes = found.notes.having("unreadable_skipped", skipped)
    return _new(pool, source, list(good), contents, judged | set(images.content), notes)


def _refuse_judged(pool: str, leaks: list[str], images: Images) -> None:
    if leaks:
        raise UserError(
            f"pool={pool} holds {len(leaks)} validation or test images of {images.source.place} "
            f"({printable(leaks[0])} is one): take them out, since pretraining must not see what "
            "models are judged on"
        )


def _new(
    pool: str,
    source: Source,
    ids: list[str],
    contents: Mapping[str, Contents],
    known: set[str],
    notes: Notes,
) -> Images:
    """The images whose content is not known, each content once, in the order of hashes."""
    # Of equal files the first is kept, so the last is written first.
    added = {contents[name].sha: name for name in reversed(ids) if contents[name].sha not in known}
    if not added:
        raise UserError(
            f"pool={pool} adds no image to those of the split; choose pool=split, or another folder"
        )
    kept = frozenset(added.values())
    notes = notes.having("pool_dropped", (name for name in ids if name not in kept))
    notes = notes.having("scaled_greys", (name for name in sorted(kept) if contents[name].scaled))
    shas = sorted(added)
    return Images(
        source=source,
        classes=(),
        ids=tuple(added[sha] for sha in shas),
        label=np.full(len(shas), UNLABELLED),
        part=np.full(len(shas), "pool"),
        content=tuple(shas),
        notes=notes,
    )


def _not_selected(scan: Scan, images: Images) -> Scan:
    selected = frozenset(images.classes)
    items = [
        item
        for item in scan.items
        if item.part in ("train", None) and item.label is not None and item.label not in selected
    ]
    return Scan(items, Notes())


def _judged(images: Images, scan: Scan, cache_dir: Path) -> set[str]:
    """Hashes of all validation and test images: of those dealt out, and of every class in the
    source.
    """
    dealt = {sha for sha, part in zip(images.content, images.part, strict=True) if part != "train"}
    elsewhere = [item.id for item in scan.items if item.part in ("valid", "test")]
    return dealt | {one.sha for one in images.source.contents(elsewhere, cache_dir).values()}


class Tree(Files):
    """Every image below a folder, at any depth; a linked folder is followed once."""

    def scan(self) -> Scan:
        """Every image, without label or part. Raises UserError for a folder without images."""
        if not self.root.is_dir():
            raise UserError(
                f"pool={self.place} is no folder; choose split, all_classes or a folder of images"
            )
        paths: list[str] = []
        notes = self._walk(paths)
        if not paths:
            raise UserError(f"pool={self.place} holds no image")
        return Scan([Item(id_of(path), None, None) for path in sorted(paths)], notes)

    def _walk(self, paths: list[str]) -> Notes:
        """Put the path of every image into `paths`."""
        noted: dict[str, list[str]] = {}
        entered = {os.path.realpath(self.root)}
        for above, folders, names in os.walk(self.root, followlinks=True):
            kept = []
            for name in sorted(folders):
                kind = self._kind(os.path.join(above, name), entered)
                if kind is not None:
                    path = os.path.relpath(os.path.join(above, name), self.root)
                    noted.setdefault(kind, []).append(id_of(path))
                if kind in (None, "linked_folders"):
                    kept.append(name)
            folders[:] = kept
            for name in names:
                path = os.path.relpath(os.path.join(above, name), self.root)
                if is_image(name):
                    paths.append(path)
                else:
                    noted.setdefault("stray_files", []).append(id_of(path))
        notes = Notes()
        for kind, found in noted.items():
            notes = notes.having(kind, found)
        return notes

    def _kind(self, folder: str, entered: set[str]) -> str | None:
        """What is noted about a folder; None where it is just read."""
        if is_left_out(os.path.basename(folder)):
            return "folders_left_out"
        real = os.path.realpath(folder)
        if real in entered:
            return "loops_left_out"
        entered.add(real)
        return "linked_folders" if os.path.islink(folder) else None

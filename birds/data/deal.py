"""Makes a data set from a source: selects the largest classes, makes the parts, and removes copies
across parts.

The digest of a data set is a hash of contents, so the same images in another folder are the same
data set. This module does not import torch, so that a finished sweep starts fast.
"""

import contextlib
import dataclasses
import gc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from birds.core.errors import UserError
from birds.data.contents import Contents
from birds.data.images import UNLABELLED, Images
from birds.data.names import alike_pairs, one_spelling
from birds.data.notes import Notes, listed, printable
from birds.data.parts import (
    Test,
    dropped,
    moved_to_test,
    with_all_parts,
    without_cut_groups,
    without_leaks,
)
from birds.data.selection import refuse_no_class, refuse_untested, select_classes, two_labels
from birds.data.sources import Item, Scan, Source


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Switch the garbage collector off in this block: it takes a quarter of the time when many
    small objects are created and kept.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@uncollected()
def read_images(
    source: Source,
    cache_dir: Path,
    *,
    classes: int | None,
    test: Test = "auto",
    seed: int,
    skip_unreadable: bool = False,
    allow_untested: bool = False,
    join_alike: bool | None = None,
    keep_class: str | None = None,
    min_images: int | None = None,
) -> Images:
    """Read, select and assign to parts the images of a source; the unlabelled have label -1.

    Args:
        classes: how many classes; those with the most training images are kept (ties by name).
            None: all.
        test: `auto` (the source's own test part, else a fifth), or how many images per class.
        seed: the seed of the parts that are made here.
        skip_unreadable, allow_untested: leave out images that cannot be decoded; accept classes
            without a test image.
        join_alike, keep_class, min_images: see `one_spelling` and `birds.data.selection`.
        cache_dir: the folder for hashes and for the names in the notes.

    Copies and groups are never in two parts. Raises UserError with the cure.
    """
    scan = scanned(source, join_alike=join_alike)
    refuse_no_class(scan.items, source, keep_class)
    every, names, notes, found = select_classes(scan, classes, min_images, source)
    notes = notes.having("classes_alike", alike_pairs(names))
    contents = source.contents([item.id for item in every], cache_dir)
    good = readable(list(contents), contents, source, skip=skip_unreadable)
    kept = [item for item in every if item.id in good]
    notes = notes.having("unreadable_skipped", dropped(every, kept))
    dealt = with_all_parts(kept, names, moved_to_test(test, scan), seed)
    unleaked, notes = _uncut(dealt, contents, notes)
    notes = notes.having("scaled_greys", (item.id for item in unleaked if contents[item.id].scaled))
    notes = _judged(unleaked, names, notes, allow_untested)
    return _with_notes_kept(_in_order(source, unleaked, names, contents, notes, found), cache_dir)


def _uncut(
    dealt: list[Item], contents: Mapping[str, Contents], notes: Notes
) -> tuple[list[Item], Notes]:
    """The items without copies and groups across parts, and notes of what was dropped."""
    whole = without_cut_groups(dealt)
    if cut_off := dropped(dealt, whole):
        notes = notes.having("groups_dropped", cut_off)
    unleaked = without_leaks(whole, contents)
    notes = notes.having("duplicates_dropped", dropped(whole, unleaked))
    if contradicting := two_labels(unleaked, contents):
        notes = notes.having("labels_contradicting", contradicting)
    return unleaked, notes


def scanned(source: Source, *, join_alike: bool | None = None) -> Scan:
    """Every image of a source, with one spelling per class. Raises UserError with the cure."""
    items, notes = source.scan()
    joined, spellings = one_spelling(items, join_alike=join_alike)
    return Scan(joined, notes.beside(spellings))


def readable(
    ids: Sequence[str], contents: Mapping[str, Contents], source: Source, *, skip: bool
) -> dict[str, None]:
    """The images that can be decoded, in order. With `skip` the others are left out; else they
    raise UserError.
    """
    broken = [name for name in ids if contents[name].error]
    if broken and not skip:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise UserError(
            f"unreadable image {source.place}/{printable(broken[0])}{more} "
            f"({contents[broken[0]].error}): repair it, or skip unreadable images with "
            "data.skip_unreadable=true"
        )
    return dict.fromkeys(name for name in ids if not contents[name].error)


def _judged(
    items: Sequence[Item], names: Sequence[str], notes: Notes, allow_untested: bool
) -> Notes:
    """The notes, with classes without test or validation images.

    Raises UserError for classes without a test image unless `allow_untested`.
    """
    tested = {item.label for item in items if item.part == "test"}
    valid = {item.label for item in items if item.part == "valid"}
    trained = {item.label for item in items if item.part == "train"}
    if gone := [name for name in names if name not in trained]:
        raise UserError(
            f"every training image of {listed(gone)} is a copy of a validation or test image, or "
            "in the same group: remove one of each pair, or correct the groups"
        )
    untested = [name for name in names if name not in tested]
    if untested and not allow_untested:
        refuse_untested(names, untested, notes)
    if untested:
        notes = notes.having("classes_untested", untested)
    unvalidated = [name for name in names if name not in valid]
    return notes.having("classes_unvalidated", unvalidated) if unvalidated else notes


def _in_order(
    source: Source,
    items: list[Item],
    names: tuple[str, ...],
    contents: Mapping[str, Contents],
    notes: Notes,
    found: int,
) -> Images:
    """The images sorted by class, then by name; images without a label come last."""
    order = {name: k for k, name in enumerate(names)}
    items.sort(key=lambda item: (order.get(item.label or "", len(names)), item.id))
    labels = [UNLABELLED if item.label is None else order[item.label] for item in items]
    return Images(
        source=source,
        classes=names,
        ids=tuple(item.id for item in items),
        label=np.array(labels, dtype=np.int64),
        part=np.array([item.part for item in items]),
        content=tuple(contents[item.id].sha for item in items),
        notes=notes,
        classes_found=found,
    )


def _with_notes_kept(images: Images, cache_dir: Path) -> Images:
    """The images, after writing every name in their notes to a file of the cache folder."""
    notes = images.notes.written(cache_dir / f"notes-{images.digest}.txt")
    return dataclasses.replace(images, notes=notes)

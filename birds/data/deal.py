"""From a source to the images of a data set: the largest classes, every part, no copy across parts.

The outcome has a digest over contents, so the same images elsewhere on disk are the same data set.
No torch here: a sweep that finds all its runs finished never imports it.
"""

import contextlib
import dataclasses
import gc
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from birds.core.errors import UserError
from birds.core.randomness import stream
from birds.data.contents import Contents
from birds.data.images import UNLABELLED, Images
from birds.data.names import alike_pairs, one_spelling, plain_name
from birds.data.notes import Notes, listed, printable
from birds.data.sources import Item, Scan, Source

VALID_SHARE = 0.1  # of a class's training images, where the data set brings no validation part
TEST_SHARE = 0.2  # likewise, where it brings no test part and data.test=auto
KEPT = 2  # training images that a class keeps at least
COUNTED = ("stray_files", "spellings_joined", "unreadable_skipped", "duplicates_dropped")

Test = Literal["auto"] | int


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Within, nothing looks for garbage cycles: where many small things are made to stay, that is a
    quarter of all.
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
    classes: int,
    test: Test = "auto",
    seed: int,
    skip_unreadable: bool = False,
    allow_untested: bool = False,
    join_alike: bool | None = None,
) -> Images:
    """Read, select and deal out the images of a source.

    Args:
        classes: how many classes are kept, those with most training images (ties by name).
        test: `auto` takes the source's own test part, else a fifth of each class by `seed`; a
            number moves so many seeded training images of each class to the test part.
        seed: of the parts that are cut here.
        skip_unreadable: leave out what cannot be decoded.
        allow_untested: go on with classes that have no test image.
        join_alike: what happens to names that merely look alike, see `one_spelling`.
        cache_dir: where hashes are remembered, and the names behind the notes.

    A copy of an image of a later part is dropped from train, then from valid. Images without a
    label are training images with the label -1. Raises UserError with the cure.
    """
    scan = scanned(source, join_alike=join_alike)
    kept, names, notes = _selected(scan, classes, source)
    notes = notes.having("classes_alike", alike_pairs(names))
    ids = [item.id for item in kept]
    contents = source.contents(ids, cache_dir)
    good = readable(ids, contents, source, skip=skip_unreadable)
    notes = notes.having("unreadable_skipped", (name for name in ids if name not in good))
    kept = [item for item in kept if item.id in good]
    dealt = _with_all_parts(kept, names, _moved(test, scan), seed)
    unleaked = without_leaks(dealt, contents)
    notes = notes.having("duplicates_dropped", _dropped(dealt, unleaked))
    notes = notes.having("scaled_greys", (item.id for item in unleaked if contents[item.id].scaled))
    notes = _judged(unleaked, names, notes, allow_untested)
    return _with_notes_kept(_in_order(source, unleaked, names, contents, notes), cache_dir)


def scanned(source: Source, *, join_alike: bool | None = None) -> Scan:
    """Every image of a source, each class in one spelling. Raises UserError with the cure."""
    items, notes = source.scan()
    joined, spellings = one_spelling(items, join_alike=join_alike)
    return Scan(joined, notes.beside(spellings))


def readable(
    ids: Sequence[str], contents: Mapping[str, Contents], source: Source, *, skip: bool
) -> dict[str, None]:
    """The images that can be decoded, in order. Raises UserError when one cannot, unless such are
    to be skipped.
    """
    broken = [name for name in ids if contents[name].error]
    if broken and not skip:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise UserError(
            f"unreadable image {source.place}/{printable(broken[0])}{more} "
            f"({contents[broken[0]].error}): repair it, or leave such images out with "
            "data.skip_unreadable=true"
        )
    return dict.fromkeys(name for name in ids if not contents[name].error)


def _selected(
    scan: Scan, classes: int, source: Source
) -> tuple[list[Item], tuple[str, ...], Notes]:
    """The items of the largest classes and those without a label, and the classes by name."""
    count = Counter(
        item.label for item in scan.items if item.part in ("train", None) and item.label is not None
    )
    _refuse_few_classes(count, scan.items, source)
    names = tuple(sorted(sorted(count, key=lambda name: (-count[name], name))[:classes]))
    chosen = frozenset(names)
    judged = [item.id for item in scan.items if item.label is None and _judging(item)]
    untrained = {x.label for x in scan.items if x.label is not None} - set(count)
    notes = Notes(dict.fromkeys(COUNTED, ())).beside(scan.notes)
    if judged:
        notes = notes.having("unlabelled_left_out", judged)
    if untrained:
        notes = notes.having("classes_untrained", sorted(untrained))
    kept = [
        item
        for item in scan.items
        if item.label in chosen or (item.label is None and not _judging(item))
    ]
    return kept, names, notes


def _judging(item: Item) -> bool:
    return item.part in ("valid", "test")


def _refuse_few_classes(count: Counter[str], items: Sequence[Item], source: Source) -> None:
    if len(count) >= 2:
        return
    parts = " and ".join(sorted({item.part or "train" for item in items}))
    if all(item.label is None for item in items):
        raise UserError(
            f"{source.place} has {len(items)} images and no label: two classes or more are needed"
        )
    if not count and "train" not in parts:
        raise UserError(
            f"data.root={source.place} has no train part, only {parts}; add train/<class>/ folders"
        )
    raise UserError(
        f"data.root={source.place} has training images of {len(count)} classes; two or more are "
        "needed"
    )


def _moved(test: Test, scan: Scan) -> Test:
    """What is moved to test: nothing where `auto` finds a test part."""
    own_test = any(item.part == "test" for item in scan.items)
    return 0 if test == "auto" and own_test else test


def _with_all_parts(kept: list[Item], names: Sequence[str], test: Test, seed: int) -> list[Item]:
    """Cut a validation part where there is none, and move seeded training images of each class to
    the test part.
    """
    have_valid = any(item.part == "valid" for item in kept)
    if test == 0 and not any(item.part == "test" for item in kept):
        raise UserError(
            "this data set brings no test part for its classes; choose data.test=auto or "
            "data.test=1 or more"
        )
    by_class: dict[str, list[str]] = defaultdict(list)
    for item in kept:
        if item.part in ("train", None) and item.label is not None:
            by_class[item.label].append(item.id)
    moved: dict[str, str] = {}
    for name in names:
        ids = sorted(by_class[name])
        to_test = max(1, round(TEST_SHARE * len(ids))) if test == "auto" else test
        to_valid = 0 if have_valid else max(1, round(VALID_SHARE * len(ids)))
        _refuse_small_class(name, len(ids), to_test, to_valid, test)
        order = stream(seed, f"parts/{plain_name(name)}").permutation(len(ids))
        parts = ["test"] * to_test + ["valid"] * to_valid
        moved |= {ids[k]: part for k, part in zip(order, parts, strict=False)}
    return [item._replace(part=moved.get(item.id, item.part or "train")) for item in kept]


def _refuse_small_class(name: str, count: int, to_test: int, to_valid: int, test: Test) -> None:
    if count >= to_test + to_valid + KEPT:
        return
    validation = f" and {to_valid} to validation" if to_valid else ""
    cure = "add images" if test == "auto" else "choose a smaller data.test"
    raise UserError(
        f"{printable(name)} has {count} training images: too few to move {to_test} to test"
        f"{validation} and keep {KEPT}; {cure} or choose fewer data.classes"
    )


def without_leaks(items: Sequence[Item], contents: Mapping[str, Contents]) -> list[Item]:
    """Drop from train what stands in valid or test, and from valid what stands in test, by exact
    content.
    """
    test = {contents[item.id].sha for item in items if item.part == "test"}
    valid = {contents[item.id].sha for item in items if item.part == "valid"}
    forbidden = {"train": test | valid, "valid": test, "test": frozenset()}
    return [item for item in items if contents[item.id].sha not in forbidden[item.part or "train"]]


def _dropped(before: Sequence[Item], after: Sequence[Item]) -> list[str]:
    left = {item.id for item in after}
    return [item.id for item in before if item.id not in left]


def _judged(
    items: Sequence[Item], names: Sequence[str], notes: Notes, allow_untested: bool
) -> Notes:
    """Refuse classes without a test image unless allowed; note those without validation."""
    tested = {item.label for item in items if item.part == "test"}
    valid = {item.label for item in items if item.part == "valid"}
    trained = {item.label for item in items if item.part == "train"}
    if gone := [name for name in names if name not in trained]:
        raise UserError(
            f"every training image of {listed(gone)} is a copy of a validation or test image: "
            "remove one of each pair"
        )
    untested = [name for name in names if name not in tested]
    if untested and not allow_untested:
        only_tested = notes.names("classes_untrained")
        beside = f" (classes without training images: {listed(only_tested)})" if only_tested else ""
        raise UserError(
            f"{len(untested)} of {len(names)} classes have no test images: {listed(untested)}"
            f"{beside}. Add some, move N training images of each class with data.test=N, or go on "
            "without them by data.allow_untested=true"
        )
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
) -> Images:
    """The images by class, then by name; those without a label last."""
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
    )


def _with_notes_kept(images: Images, cache_dir: Path) -> Images:
    """The images, with every name behind their notes in a file of the cache folder."""
    notes = images.notes.written(cache_dir / f"notes-{images.digest}.txt")
    return dataclasses.replace(images, notes=notes)

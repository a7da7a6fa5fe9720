"""Selects the classes of a source with the most images, and asks about doubtful class names.

A folder called `unlabelled` may be a class or may contain images without a label. Only the user
knows, so the program asks.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from birds.core.errors import UserError, nearest
from birds.data.contents import Contents
from birds.data.names import means_no_class, plain_name
from birds.data.notes import Notes, listed, printable
from birds.data.sources import Item, Scan, Source

COUNTED = ("stray_files", "spellings_joined", "unreadable_skipped", "duplicates_dropped")


class Selected(NamedTuple):
    """The items of the selected classes and those without a label, and the sorted class names."""

    items: list[Item]
    names: tuple[str, ...]
    notes: Notes
    found: int


def select_classes(
    scan: Scan, classes: int | None, min_images: int | None, source: Source
) -> Selected:
    """The `classes` largest classes (None: all) of a source with at least `min_images` training
    images each (ties by name). Raises UserError if fewer than two remain.
    """
    every = Counter(
        item.label for item in scan.items if item.part in ("train", None) and item.label is not None
    )
    count = {name: images for name, images in every.items() if images >= (min_images or 1)}
    _refuse_few_classes(count, every, scan.items, source, min_images)
    names = tuple(sorted(sorted(count, key=lambda name: (-count[name], name))[:classes]))
    chosen = frozenset(names)
    judged = [item.id for item in scan.items if item.label is None and _judging(item)]
    untrained = {x.label for x in scan.items if x.label is not None} - set(every)
    notes = Notes(dict.fromkeys(COUNTED, ())).beside(scan.notes)
    small = sorted(set(every) - set(count))
    for kind, found in (
        ("unlabelled_left_out", judged),
        ("classes_untrained", sorted(untrained)),
        ("classes_small", [f"{name} ({every[name]})" for name in small]),
    ):
        if found:
            notes = notes.having(kind, found)
    kept = [
        item
        for item in scan.items
        if item.label in chosen or (item.label is None and not _judging(item))
    ]
    return Selected(kept, names, notes, len(every))


def _judging(item: Item) -> bool:
    return item.part in ("valid", "test")


def _refuse_few_classes(
    count: Mapping[str, int],
    every: Mapping[str, int],
    items: Sequence[Item],
    source: Source,
    min_images: int | None,
) -> None:
    if len(count) >= 2:
        return
    if len(every) >= 2:
        raise UserError(
            f"data.min_images={min_images} leaves {len(count)} of {len(every)} classes: at least "
            f"two are needed; choose {sorted(every.values())[-2]} or fewer"
        )
    parts = " and ".join(sorted({item.part or "train" for item in items}))
    if all(item.label is None for item in items):
        raise UserError(
            f"{source.place} has {len(items)} images and no label: at least two classes are needed"
        )
    if not count and "train" not in parts:
        raise UserError(
            f"data.root={source.place} has no train part, only {parts}; add train/<class>/ folders"
        )
    raise UserError(
        f"data.root={source.place} has training images of {len(count)} classes; at least two are "
        "needed"
    )


def refuse_no_class(items: Iterable[Item], source: Source, keep_class: str | None) -> None:
    """Raise UserError, with both possible answers, for a class whose name usually means "no class";
    also for a `keep_class` that does not exist.
    """
    count = Counter(item.label for item in items if item.label is not None)
    kept = plain_name(keep_class) if keep_class else None
    if keep_class and kept not in set(map(plain_name, count)):
        raise UserError(
            f"data.keep_class={keep_class}: this class does not exist"
            f"{nearest(keep_class, sorted(count))}"
        )
    for name, images in count.items():
        if means_no_class(name) and plain_name(name) != kept:
            raise UserError(question(name, images, source, _folder_of(name, items)))


def question(name: str, images: int, source: Any, folder: str | None = None) -> str:
    """The sentence that asks about a doubtful class name, with both answers.

    `folder`: the class's folder under the root; None for a label in a table.
    """
    shown = printable(name)
    cure = "leave that cell of the table empty"
    if folder is not None:
        cure = f"choose data.unlabelled={source.place}/{printable(folder)}"
    return (
        f"{images} images would be read as a class called {shown!r}: if they have no label, {cure};"
        f" if it is a class, data.keep_class={shown!r}"
    )


def _folder_of(name: str, items: Iterable[Item]) -> str | None:
    """The folder of a class under the root; None if the class is not named by a folder."""
    for item in items:
        above = item.id.split("/")[:-1]
        if item.label == name and name in above:
            return "/".join(above[: above.index(name) + 1])
    return None


def two_labels(items: Sequence[Item], contents: Mapping[str, Contents]) -> list[str]:
    """Pairs of images with equal content and different classes, as `id = id`."""
    first: dict[str, Item] = {}
    pairs = []
    for item in items:
        if item.label is None:
            continue
        known = first.setdefault(contents[item.id].sha, item)
        if known.label != item.label:
            pairs.append(f"{known.id} = {item.id}")
    return pairs


def refuse_untested(names: Sequence[str], untested: Sequence[str], notes: Notes) -> None:
    """Raise UserError about classes without a test image."""
    only_tested = notes.names("classes_untrained")
    beside = f" (classes without training images: {listed(only_tested)})" if only_tested else ""
    raise UserError(
        f"{len(untested)} of {len(names)} classes have no test images: {listed(untested)}"
        f"{beside}. Add some, move N training images of each class with data.test=N, or accept "
        "this with data.allow_untested=true"
    )

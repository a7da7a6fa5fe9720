"""Which classes of a source are kept: those with most images, and never one by mistake.

A folder called `unlabelled` beside the classes may be a class or may hold images without a label.
Nobody but a person knows, so it is asked about.
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
    """The items of the classes that are kept and those without a label; the classes by name."""

    items: list[Item]
    names: tuple[str, ...]
    notes: Notes
    found: int


def select_classes(scan: Scan, classes: int, min_images: int | None, source: Source) -> Selected:
    """The largest `classes` of a source, ties by name; none with fewer than `min_images` training
    images. Raises UserError where fewer than two are left.
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
            f"data.min_images={min_images} leaves {len(count)} of {len(every)} classes: two or "
            f"more are needed; choose {sorted(every.values())[-2]} or fewer"
        )
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


def refuse_no_class(items: Iterable[Item], source: Source, keep_class: str | None) -> None:
    """Ask about a class whose name most often means that there is none. Raises UserError with both
    answers, and for a `keep_class` that is no class.
    """
    count = Counter(item.label for item in items if item.label is not None)
    kept = plain_name(keep_class) if keep_class else None
    if keep_class and kept not in set(map(plain_name, count)):
        raise UserError(
            f"data.keep_class={keep_class}: there is no such class"
            f"{nearest(keep_class, sorted(count))}"
        )
    for name, images in count.items():
        if means_no_class(name) and plain_name(name) != kept:
            raise UserError(question(name, images, source, _folder_of(name, items)))


def question(name: str, images: int, source: Any, folder: str | None = None) -> str:
    """The sentence that asks about a class of such a name, with both answers.

    `folder`: its place under the root; None where it is the label of a table.
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
    """The folder, under the root, of a class of that name; None where folders do not name it."""
    for item in items:
        above = item.id.split("/")[:-1]
        if item.label == name and name in above:
            return "/".join(above[: above.index(name) + 1])
    return None


def two_labels(items: Sequence[Item], contents: Mapping[str, Contents]) -> list[str]:
    """Images of equal content and different classes, as `id = id`."""
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
        f"{beside}. Add some, move N training images of each class with data.test=N, or go on "
        "without them by data.allow_untested=true"
    )

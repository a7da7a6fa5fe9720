"""Assigns images to training, validation and test so that no copy and no group is in two parts.

Photos of one nest, one camera or one burst look alike. If some are used for training and others for
testing, the accuracy measures how well the nest is recognised. So a group is moved as a whole. If
the source's own parts split a group, its images are removed from the training (or validation) part,
also the unlabelled ones. Labelled and unlabelled *training* images may share a group: no accuracy
is measured on them, and in practice, too, one frame of a burst gets a label and the others do not.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from birds.core.errors import UserError
from birds.core.randomness import stream
from birds.data.contents import Contents
from birds.data.names import plain_name
from birds.data.notes import printable
from birds.data.sources import Item, Scan

VALID_SHARE = 0.1  # of a class's training images, if the data set has no validation part
TEST_SHARE = 0.2  # of a class's training images, if it has no test part and data.test=auto
KEPT = 2  # minimum of training images that a class keeps
JUDGING = ("test", "valid")

Test = Literal["auto"] | int


def moved_to_test(test: Test, scan: Scan) -> Test:
    """The number of images to move to test: 0 if `auto` finds a test part."""
    own_test = any(item.part == "test" for item in scan.items)
    return 0 if test == "auto" and own_test else test


def with_all_parts(kept: list[Item], names: Sequence[str], test: Test, seed: int) -> list[Item]:
    """Make a validation part if there is none, and move random training images of each class to the
    test part. Raises UserError if a class has too few.
    """
    have_valid = any(item.part == "valid" for item in kept)
    if test == 0 and not any(item.part == "test" for item in kept):
        raise UserError(
            "this data set has no test part; choose data.test=auto, or data.test=N with N of 1 or "
            "more"
        )
    by_class: dict[str, list[Item]] = defaultdict(list)
    for item in kept:
        if item.part in ("train", None) and item.label is not None:
            by_class[item.label].append(item)
    wanted: dict[str, dict[str, int]] = {part: {} for part in JUDGING}
    for name in names:
        count = len(by_class[name])
        to_test = max(1, round(TEST_SHARE * count)) if test == "auto" else test
        to_valid = 0 if have_valid else max(1, round(VALID_SHARE * count))
        _refuse_small_class(name, count, to_test, to_valid, test)
        wanted["test"][name] = to_test
        wanted["valid"][name] = to_valid
    if any(item.group for items in by_class.values() for item in items):
        moved = _moved_groups(by_class, wanted, seed)
    else:
        moved = _moved_images(by_class, wanted, seed)
    return [item._replace(part=moved.get(item.id, item.part or "train")) for item in kept]


def _moved_images(
    by_class: Mapping[str, Sequence[Item]], wanted: Mapping[str, Mapping[str, int]], seed: int
) -> dict[str, str]:
    """The new part of each image that is moved, if there are no groups."""
    moved: dict[str, str] = {}
    for name in wanted["test"]:
        ids = sorted(item.id for item in by_class[name])
        order = stream(seed, f"parts/{plain_name(name)}").permutation(len(ids))
        parts = ["test"] * wanted["test"][name] + ["valid"] * wanted["valid"][name]
        moved |= {ids[k]: part for k, part in zip(order, parts, strict=False)}
    return moved


def _moved_groups(
    by_class: Mapping[str, Sequence[Item]], wanted: Mapping[str, Mapping[str, int]], seed: int
) -> dict[str, str]:
    """The new part of each image that is moved, if groups move as a whole."""
    units: dict[str, list[Item]] = defaultdict(list)
    for items in by_class.values():
        for item in items:
            units[f"group {item.group}" if item.group else f"image {item.id}"].append(item)
    names = sorted(units)
    order = stream(seed, "parts/groups").permutation(len(names))
    waiting = [names[k] for k in order]
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name in names:
        counts[name].update(item.label or "" for item in units[name])
    free = Counter({name: len(items) for name, items in by_class.items()})
    moved: dict[str, str] = {}
    for part in JUDGING:
        later = wanted["valid"] if part == "test" else {}
        taken = _taken(waiting, counts, wanted[part], later, free)
        waiting = [name for name in waiting if name not in taken]
        for name in taken:
            moved |= {item.id: part for item in units[name]}
            free -= counts[name]
        lacking = [
            name for name, n in wanted[part].items() if n and not _any_of(name, taken, counts)
        ]
        if lacking and part == "test":
            _refuse_whole_groups(lacking[0], waiting, counts)
    return moved


def _taken(
    waiting: Sequence[str],
    counts: Mapping[str, Counter[str]],
    wanted: Mapping[str, int],
    later: Mapping[str, int],
    free: Counter[str],
) -> list[str]:
    """The units (groups or single images) that move to a part.

    First, in order, those that fit into the wanted number of each class. Then, for each class that
    got none, the smallest unit that leaves enough training images. One unit of every class is kept
    for each part that is made `later`, and one for training.
    """
    got: Counter[str] = Counter()
    taken: list[str] = []
    units = Counter(name for unit in waiting for name in counts[unit])
    for unit in waiting:
        fits = all(got[name] + n <= wanted[name] for name, n in counts[unit].items())
        stays = all(units[name] > 1 + bool(later.get(name)) for name in counts[unit])
        if fits and stays:
            taken.append(unit)
            got += counts[unit]
            units.subtract(counts[unit].keys())
    for name in wanted:
        if not wanted[name] or got[name]:
            continue
        possible = [unit for unit in waiting if unit not in taken and counts[unit][name]]
        possible = [unit for unit in possible if _leaves_enough(counts[unit], got, free)]
        if possible:
            unit = min(possible, key=lambda one: counts[one].total())
            taken.append(unit)
            got += counts[unit]
    return taken


def _leaves_enough(unit: Counter[str], got: Counter[str], free: Counter[str]) -> bool:
    return all(free[name] - got[name] - n >= KEPT for name, n in unit.items())


def _any_of(name: str, taken: Sequence[str], counts: Mapping[str, Counter[str]]) -> bool:
    return any(counts[unit][name] for unit in taken)


def _refuse_whole_groups(
    name: str, waiting: Sequence[str], counts: Mapping[str, Counter[str]]
) -> None:
    own = [counts[unit][name] for unit in waiting if counts[unit][name]]
    raise UserError(
        f"{printable(name)} has {sum(own)} training images in {len(own)} groups, and groups cannot "
        f"be split: no group can be moved to test and leave {KEPT} images of every class; add "
        "images of other groups, or leave that class out"
    )


def _refuse_small_class(name: str, count: int, to_test: int, to_valid: int, test: Test) -> None:
    least = to_test + to_valid + KEPT
    if count >= least:
        return
    validation = f" and {to_valid} to validation" if to_valid else ""
    cure = "add images" if test == "auto" else "choose a smaller data.test"
    raise UserError(
        f"{printable(name)} has {count} training images: too few to move {to_test} to test"
        f"{validation} and keep {KEPT}; {cure}, choose fewer data.classes, or leave out small "
        f"classes with data.min_images={least}"
    )


def without_leaks(items: Sequence[Item], contents: Mapping[str, Contents]) -> list[Item]:
    """Remove copies: of valid and test images from train, and of test images from valid."""
    test = {contents[item.id].sha for item in items if item.part == "test"}
    valid = {contents[item.id].sha for item in items if item.part == "valid"}
    forbidden = {"train": test | valid, "valid": test, "test": frozenset()}
    return [item for item in items if contents[item.id].sha not in forbidden[item.part or "train"]]


def without_cut_groups(items: Sequence[Item]) -> list[Item]:
    """Remove from train the images in groups of valid or test, and from valid those in groups of
    test.
    """
    test = {item.group for item in items if item.part == "test" and item.group}
    valid = {item.group for item in items if item.part == "valid" and item.group}
    forbidden = {"train": test | valid, "valid": test, "test": frozenset()}
    return [item for item in items if item.group not in forbidden[item.part or "train"]]


def dropped(before: Sequence[Item], after: Sequence[Item]) -> list[str]:
    """The names of the items in `before` that are not in `after`."""
    left = {item.id for item in after}
    return [item.id for item in before if item.id not in left]

"""Which image stands in which part, so that no copy and no group stands on both sides of a cut.

Photos of one nest, one camera or one burst look alike. Where some are learnt from and others are
tested, the accuracy is that of recognising the nest. So a group is moved as a whole, and where a source's
own parts cut one, its images are dropped from the earlier part, unlabelled ones as well. Labelled
and unlabelled *training* images may share a group: neither is judged, and in life, too, one frame
of a burst gets a label and the others stay without.
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

VALID_SHARE = 0.1  # of a class's training images, where the data set brings no validation part
TEST_SHARE = 0.2  # likewise, where it brings no test part and data.test=auto
KEPT = 2  # training images that a class keeps at least
JUDGING = ("test", "valid")

Test = Literal["auto"] | int


def moved_to_test(test: Test, scan: Scan) -> Test:
    """What is moved to test: nothing where `auto` finds a test part."""
    own_test = any(item.part == "test" for item in scan.items)
    return 0 if test == "auto" and own_test else test


def with_all_parts(kept: list[Item], names: Sequence[str], test: Test, seed: int) -> list[Item]:
    """Cut a validation part where there is none, and move seeded training images of each class to
    the test part. Raises UserError when a class has too few.
    """
    have_valid = any(item.part == "valid" for item in kept)
    if test == 0 and not any(item.part == "test" for item in kept):
        raise UserError(
            "this data set brings no test part for its classes; choose data.test=auto or "
            "data.test=1 or more"
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
    """The new part of each image that is moved, where every image stands for itself."""
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
    """The same where groups move as a whole, an image without one by itself."""
    units: dict[str, list[Item]] = defaultdict(list)
    for items in by_class.values():
        for item in items:
            units[f"group {item.group}" if item.group else f"image {item.id}"].append(item)
    names = sorted(units)
    order = stream(seed, "parts/groups").permutation(len(names))
    waiting = [names[k] for k in order]
    counts = {name: Counter(item.label or "" for item in units[name]) for name in names}
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
    """The units that go to a part: in their order those that fit into what each class wants, then
    the smallest for each class that got none, if enough images are left to learn from.

    A unit of every class stays for each part that is dealt `later`, and one to learn from.
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
        f"{printable(name)} has {sum(own)} training images in {len(own)} groups, and a group stays "
        f"whole: none can be moved to test and leave {KEPT} images of every class; add images of "
        "other groups, or leave that class out"
    )


def _refuse_small_class(name: str, count: int, to_test: int, to_valid: int, test: Test) -> None:
    least = to_test + to_valid + KEPT
    if count >= least:
        return
    validation = f" and {to_valid} to validation" if to_valid else ""
    cure = "add images" if test == "auto" else "choose a smaller data.test"
    raise UserError(
        f"{printable(name)} has {count} training images: too few to move {to_test} to test"
        f"{validation} and keep {KEPT}; {cure} or choose fewer data.classes, or leave such classes "
        f"out with data.min_images={least}"
    )


def without_leaks(items: Sequence[Item], contents: Mapping[str, Contents]) -> list[Item]:
    """Drop from train what stands in valid or test, and from valid what stands in test, by exact
    content.
    """
    test = {contents[item.id].sha for item in items if item.part == "test"}
    valid = {contents[item.id].sha for item in items if item.part == "valid"}
    forbidden = {"train": test | valid, "valid": test, "test": frozenset()}
    return [item for item in items if contents[item.id].sha not in forbidden[item.part or "train"]]


def without_cut_groups(items: Sequence[Item]) -> list[Item]:
    """Drop from train what shares a group with valid or test, and from valid what shares one with
    test.
    """
    test = {item.group for item in items if item.part == "test" and item.group}
    valid = {item.group for item in items if item.part == "valid" and item.group}
    forbidden = {"train": test | valid, "valid": test, "test": frozenset()}
    return [item for item in items if item.group not in forbidden[item.part or "train"]]


def dropped(before: Sequence[Item], after: Sequence[Item]) -> list[str]:
    """The names of the items that are gone."""
    left = {item.id for item in after}
    return [item.id for item in before if item.id not in left]

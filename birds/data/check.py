"""Checks a source of images: counts, unreadable files, formats, exact and near duplicates, and what
its reader leaves out.

Near duplicates have 64-bit perceptual hashes with a Hamming distance of at most 3 (the signs of the
lowest DCT frequencies, as in pHash; Zauner 2010). At least one of the four 16-bit words is then
equal, so only images that share a word are compared, and the cost is almost linear in the number of
images.
"""

import csv
import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.data.contents import Contents
from birds.data.deal import scanned
from birds.data.decode import Look as DecodeLook
from birds.data.notes import Notes, printable
from birds.data.selection import refuse_no_class
from birds.data.sources import Item, Scan, Source

NEAR = 3  # bits of 64 that may differ
FLAT = 4.0  # grey levels; with a smaller standard deviation the hash would be noise
HASHED = DecodeLook(32, 1, "squash")  # the input of the perceptual hash


@dataclasses.dataclass(frozen=True)
class Look:
    """One image: hash of its bytes, perceptual hash, size, mode, and the decoder's error if any."""

    sha: str
    phash: int | None
    size: tuple[int, int]
    mode: str
    error: str


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of a check. Pairs and groups contain ids of images."""

    place: str
    images: list[Item]
    looks: dict[str, Look]
    notes: Notes
    exact: list[list[str]]
    near: list[tuple[str, str]]
    csv_rows_without_file: int | None

    @property
    def unreadable(self) -> list[str]:
        """Ids of images that cannot be decoded."""
        return [name for name, look in self.looks.items() if look.error]

    def crossing(self, groups: Iterable[Sequence[str]]) -> int:
        """How many groups have members in different parts."""
        part = {item.id: item.part for item in self.images}
        count = 0
        for group in groups:
            count += len({part[name] for name in group}) > 1
        return count


def check_source(
    source: Source, cache_dir: Path | None = None, *, join_alike: bool | None = None
) -> Report:
    """Check every image of a source. Raises UserError if there are none."""
    items, notes = _scanned(source, join_alike)
    ids = [item.id for item in items]
    contents = source.contents(ids, cache_dir)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = pool.map(lambda name: look_at(source, name, contents[name]), ids)
        looks = dict(zip(ids, seen, strict=True))
    notes = notes.having("scaled_greys", (name for name in ids if contents[name].scaled))
    notes = _with_lonely_classes(items, notes)
    try:
        refuse_no_class(items, source, None)
    except UserError as asked:
        notes = notes.having("undecided", [str(asked)])
    return Report(
        source.place,
        items,
        looks,
        notes,
        exact_duplicates(looks),
        near_duplicates(looks),
        csv_rows_without_file(Path(source.place), set(ids)),
    )


def _scanned(source: Source, join_alike: bool | None) -> Scan:
    """As `scanned`; class names that the user must decide on are noted and kept apart."""
    try:
        return scanned(source, join_alike=join_alike)
    except UserError as question:
        items, notes = scanned(source, join_alike=False)
        return Scan(items, notes.having("undecided", [str(question)]))


def _with_lonely_classes(items: Sequence[Item], notes: Notes) -> Notes:
    """The notes, with the classes without training images and the classes without test images."""
    labels: dict[str, set[str]] = defaultdict(set)
    for item in items:
        if item.label is not None:
            labels[item.part or "train"].add(item.label)
    judged = labels["valid"] | labels["test"]
    if labels["train"] and (untrained := judged - labels["train"]):
        notes = notes.having("classes_untrained", sorted(untrained))
    if labels["test"] and (untested := labels["train"] - labels["test"]):
        notes = notes.having("classes_untested", sorted(untested))
    return notes


def look_at(source: Source, name: str, contents: Contents) -> Look:
    """Read one image and compute its perceptual hash."""
    if contents.error:
        return Look(contents.sha, None, (0, 0), "", contents.error)
    grey = source.decode(name, HASHED)[..., 0]
    size = (contents.width, contents.height)
    return Look(contents.sha, perceptual_hash(grey), size, contents.mode, "")


def perceptual_hash(grey: NDArray[np.uint8]) -> int | None:
    """The 64-bit perceptual hash of a grey image (32, 32); None for a plain surface."""
    from scipy.fft import dctn

    shades = grey.astype(np.float64)
    if shades.std() < FLAT:
        return None
    low = dctn(shades, norm="ortho")[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return int("".join("1" if bit else "0" for bit in bits), 2)


def exact_duplicates(looks: dict[str, Look]) -> list[list[str]]:
    """Groups of paths whose bytes are equal."""
    groups = defaultdict(list)
    for path, look in looks.items():
        if look.sha:
            groups[look.sha].append(path)
    return [group for group in groups.values() if len(group) > 1]


def near_duplicates(looks: dict[str, Look]) -> list[tuple[str, str]]:
    """Pairs of paths that look alike but differ in bytes."""
    words = defaultdict(list)
    for path, look in looks.items():
        if look.phash is not None:
            for place in range(4):
                words[place, look.phash >> (16 * place) & 0xFFFF].append(
                    (path, look.phash, look.sha)
                )
    found = set()
    for group in words.values():
        for (a, hash_a, sha_a), (b, hash_b, sha_b) in combinations(group, 2):
            if sha_a != sha_b and (hash_a ^ hash_b).bit_count() <= NEAR:
                found.add((a, b))
    return sorted(found)


def csv_rows_without_file(root: Path, ids: set[str]) -> int | None:
    """How many rows of the root's first CSV name a missing image; None without a readable CSV.

    The CSV may have a header or not.
    """
    files = sorted(root.glob("*.csv"))
    if not files:
        return None
    absent = 0
    parts = {name.split("/")[0] for name in ids}
    try:
        with files[0].open(newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.reader(file):
                named = [cell for cell in row if "/" in cell and "." in cell]
                absent += bool(named) and named[0].split("/")[0] in parts and named[0] not in ids
    except (csv.Error, OSError):  # a field that is too long, or a folder called x.csv
        return None
    return absent


def span_words(counts: Collection[int]) -> str:
    """The smallest and the largest of some counts: `3 to 9`, or `9` if all are equal."""
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


def as_text(report: Report) -> str:
    """The report as text: one fact per line, with examples of problems."""
    labels = {item.label for item in report.images if item.label is not None}
    lines = [f"{report.place}: {len(report.images)} images of {len(labels)} classes"]
    lines += _lines_of_parts(report)
    lines += _lines_of_formats(report)
    lines += [f"  {line}" for line in report.notes.lines()]
    if report.csv_rows_without_file is not None:
        lines.append(f"  CSV rows that name a missing image: {report.csv_rows_without_file}")
    lines.append(f"  unreadable: {len(report.unreadable)}")
    for name in report.unreadable[:10]:
        lines.append(f"    {printable(name)}: {report.looks[name].error}")
    for kind, groups in (("exact", report.exact), ("near", report.near)):
        crossing = report.crossing(groups)
        lines.append(f"  {kind} duplicates: {len(groups)} groups, {crossing} of them across parts")
        lines += [f"    {printable(' = '.join(group[:3]))}" for group in groups[:5]]
    return "\n".join(lines)


def _lines_of_parts(report: Report) -> list[str]:
    lines = []
    for part in ("train", "valid", "test"):
        items = [item for item in report.images if (item.part or "train") == part]
        per_class = Counter(item.label for item in items if item.label is not None)
        if per_class:
            span = f"{span_words(per_class.values())} per class"
            lines.append(f"  {part:5}  {len(items):6} images, {span}")
    unlabelled = sum(item.label is None for item in report.images)
    if unlabelled:
        lines.append(f"  {unlabelled} images without a label")
    return lines


def _lines_of_formats(report: Report) -> list[str]:
    good = [look for look in report.looks.values() if not look.error]
    if not good:
        return []
    (width, height), count = Counter(look.size for look in good).most_common(1)[0]
    modes = Counter(look.mode for look in good)
    odd = {mode: n for mode, n in modes.items() if mode != "RGB"}
    differ = len(good) - count
    return [f"  size   {width}x{height} px, {differ} other images; not RGB: {odd or 'none'}"]

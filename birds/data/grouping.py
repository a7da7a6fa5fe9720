"""Finds photos that likely belong together: near duplicates, and photos taken within seconds.

Photos of one burst look alike. If some are in training and others in test, a classifier looks
better than it is. The result is a proposal that a person should check: a table with a column
`group`, which `data=table` can read.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from birds.core.errors import UserError
from birds.data.check import Report
from birds.data.sources import Item

SECONDS = 10.0  # between one photo of a burst and the next
EXIF, TAKEN, CHANGED, MAKE, MODEL = 0x8769, 0x9003, 0x0132, 0x010F, 0x0110
HEAD = ("file", "label", "part", "group")


class Taken(NamedTuple):
    """When a photo was taken, in seconds, and by which camera."""

    camera: str
    seconds: float


def taken(file: Path) -> Taken | None:
    """The time and camera of a photo from its EXIF data; None if they are missing."""
    try:
        with Image.open(file) as image:
            exif = image.getexif()
            text = exif.get_ifd(EXIF).get(TAKEN) or exif.get(CHANGED)
            camera = f"{exif.get(MAKE, '')} {exif.get(MODEL, '')}".strip()
        moment = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError):
        return None
    return Taken(camera, (moment - datetime(1970, 1, 1)).total_seconds())


def within_seconds(moments: Mapping[str, Taken], seconds: float = SECONDS) -> list[tuple[str, str]]:
    """Pairs of consecutive photos of one camera, at most `seconds` apart."""
    ordered = sorted(moments, key=lambda name: (*moments[name], name))
    pairs = []
    for before, after in pairwise(ordered):
        one, other = moments[before], moments[after]
        if one.camera == other.camera and other.seconds - one.seconds <= seconds:
            pairs.append((before, after))
    return pairs


def joined(pairs: Iterable[Sequence[str]]) -> list[list[str]]:
    """Groups of names that are connected by pairs, directly or through others; sorted."""
    root: dict[str, str] = {}

    def top(name: str) -> str:
        root.setdefault(name, name)
        while root[name] != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    for first, *others in pairs:
        for other in others:
            root[top(other)] = top(first)
    groups: dict[str, list[str]] = {}
    for name in sorted(root):
        groups.setdefault(top(name), []).append(name)
    return sorted(groups.values())


def likely_groups(report: Report, moments: Mapping[str, Taken]) -> list[list[str]]:
    """Groups of photos that likely belong together: duplicates, photos taken within seconds, or
    photos in one group of the source.
    """
    known: dict[str, list[str]] = {}
    for item in report.images:
        if item.group:
            known.setdefault(item.group, []).append(item.id)
    return joined([*report.exact, *report.near, *within_seconds(moments), *known.values()])


def moments_of(report: Report, files: Mapping[str, Path]) -> dict[str, Taken]:
    """The time and camera of each photo of a report whose file has them."""
    found = {name: taken(file) for name, file in files.items() if not report.looks[name].error}
    return {name: moment for name, moment in found.items() if moment is not None}


def as_lines(report: Report, groups: Sequence[Sequence[str]], dated: int) -> list[str]:
    """The groups as lines of text, with examples."""
    inside = sum(map(len, groups))
    across = report.crossing(groups)
    by_id = {item.id: item for item in report.images}
    several = 0
    for group in groups:
        several += len({by_id[name].label for name in group} - {None}) > 1
    lines = [
        f"  likely groups: {len(groups)} of {inside} images (near duplicates, or taken within "
        f"{SECONDS:g} s; {dated} images have a time), {across} of them across parts, {several} "
        "across classes"
    ]
    return lines + [f"    {' = '.join(group[:3])}" for group in list(groups)[:5]]


def write_groups(file: Path, items: Sequence[Item], groups: Sequence[Sequence[str]]) -> None:
    """Write a table of all images with their class, part and group.

    Raises UserError if the file exists or cannot be written.
    """
    number = {name: f"g{k:04d}" for k, group in enumerate(groups, 1) for name in group}
    try:
        with file.open("x", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(HEAD)
            for item in items:
                group = number.get(item.id, "")
                writer.writerow([item.id, item.label or "", item.part or "", group])
    except FileExistsError:
        raise UserError(
            f"--groups {file}: this file exists already and is not overwritten; choose another name"
        ) from None
    except (OSError, UnicodeEncodeError) as error:
        raise UserError(f"--groups {file}: cannot be written ({error}); choose another") from None

"""What a folder of photos really holds: counts, unreadable files, odd formats, exact and near
duplicates.

Near duplicates are found by a 64-bit perceptual hash (the signs of the lowest DCT frequencies, as
pHash does; Zauner 2010) within a Hamming distance of 3: of its four 16-bit words one is then equal,
so only photos that share a word are compared, and the cost stays near linear in the number of
photos.
"""

import csv
import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from birds.data.contents import contents_of
from birds.data.photos import Photo, scan_folder

NEAR = 3  # bits of 64 that may differ
FLAT = 4.0  # grey levels; below this spread a photo is a plain surface and its hash is noise


@dataclasses.dataclass(frozen=True)
class Look:
    """What is known of one file: hash of its bytes, perceptual hash, size, mode, and why it cannot
    be decoded.
    """

    sha: str
    phash: int | None
    size: tuple[int, int]
    mode: str
    error: str


@dataclasses.dataclass(frozen=True)
class Report:
    """The findings. Pairs and groups hold paths; `crossing` are those whose members stand in
    different parts.
    """

    photos: list[Photo]
    looks: dict[str, Look]
    notes: dict[str, int]
    exact: list[list[str]]
    near: list[tuple[str, str]]
    csv_rows_without_file: int | None

    @property
    def unreadable(self) -> list[str]:
        """Paths of files that cannot be decoded."""
        return [path for path, look in self.looks.items() if look.error]

    def crossing(self, groups: Iterable[Sequence[str]]) -> int:
        """How many groups have members in different parts."""
        part = {photo.path: photo.part for photo in self.photos}
        return sum(len({part[path] for path in group}) > 1 for group in groups)


def check_folder(root: Path) -> Report:
    """Look at every photo under `root`. Raises UserError when there are none."""
    photos, notes = scan_folder(root)
    paths = [photo.path for photo in photos]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = dict(zip(paths, pool.map(lambda path: look_at(root / path), paths), strict=True))
    exact = exact_duplicates(looks)
    return Report(
        photos, looks, notes, exact, near_duplicates(looks), csv_rows_without_file(root, set(paths))
    )


def look_at(path: Path) -> Look:
    """Read one file."""
    contents = contents_of(path)
    if contents.error:
        return Look(contents.sha, None, (0, 0), "", contents.error)
    with Image.open(path) as image:
        size, mode = image.size, image.mode
        image.draft("L", (64, 64))
        return Look(contents.sha, perceptual_hash(image), size, mode, "")


def perceptual_hash(image: Image.Image) -> int | None:
    """64 bits, equal for photos that look alike; None for plain surfaces."""
    from scipy.fft import dctn

    grey = np.asarray(
        image.convert("L").resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float64
    )
    if grey.std() < FLAT:
        return None
    low = dctn(grey, norm="ortho")[:8, :8].ravel()
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


def csv_rows_without_file(root: Path, paths: set[str]) -> int | None:
    """How many rows of the root's first CSV name a photo that is not there; None without CSV.
    Headers are optional.
    """
    files = sorted(root.glob("*.csv"))
    if not files:
        return None
    absent, parts = 0, {path.split("/")[0] for path in paths}
    with files[0].open(newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.reader(file):
            named = [cell for cell in row if "/" in cell and "." in cell]
            absent += bool(named) and named[0].split("/")[0] in parts and named[0] not in paths
    return absent


def as_text(report: Report, root: Path) -> str:
    """The report for people, a fact a line, with examples of what is wrong."""
    species = {photo.species for photo in report.photos}
    parts = Counter(photo.part for photo in report.photos)
    lines = [f"{root}: {len(report.photos)} photos of {len(species)} species"]
    for part in ("train", "valid", "test"):
        per_class = Counter(photo.species for photo in report.photos if photo.part == part)
        if per_class:
            lines.append(
                f"  {part:5}  {parts[part]:6} photos, {min(per_class.values())} to {max(per_class.values())} a species"
            )
    good = [look for look in report.looks.values() if not look.error]
    sizes, modes = Counter(look.size for look in good), Counter(look.mode for look in good)
    if sizes:
        (usual, count), odd = (
            sizes.most_common(1)[0],
            {m: n for m, n in modes.items() if m != "RGB"},
        )
        lines.append(
            f"  size   {usual[0]}x{usual[1]} px, {len(good) - count} photos differ; not RGB: {odd or 'none'}"
        )
    lines.append(
        f"  stray files in the root: {report.notes['stray_files']}; "
        f"species spelled two ways: {report.notes['spellings_joined']}"
    )
    if report.csv_rows_without_file is not None:
        lines.append(f"  CSV rows that name a missing photo: {report.csv_rows_without_file}")
    lines.append(f"  unreadable: {len(report.unreadable)}")
    lines += [f"    {path}: {report.looks[path].error}" for path in report.unreadable[:10]]
    for name, groups in (("exact", report.exact), ("near", report.near)):
        lines.append(
            f"  {name} duplicates: {len(groups)} groups, {report.crossing(groups)} of them across parts"
        )
        lines += [f"    {' = '.join(group[:3])}" for group in groups[:5]]
    return "\n".join(lines)

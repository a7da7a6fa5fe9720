"""One reader for folders of classes: `train|valid|test/<SPECIES>/NNN.jpg` as BIRDS 525 is
published, or flat.

Folders are the truth: a photo's species is the folder it lies in, and `birds.csv` (header or none)
is not needed. Names are compared without case, underscores or repeated blanks; a name that stands
in one part only is matched to its closest unmatched spelling among the training species (BIRDS 525
spells PARAKETT AUKLET two ways). A part that is missing is cut from the training photos. The
outcome has a digest over contents, so the same photos elsewhere on disk are the same data set. No
torch here: a sweep that finds all its runs finished never imports it.
"""

import contextlib
import dataclasses
import difflib
import gc
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from birds.core.randomness import stream
from birds.core.spec import UserError
from birds.data.contents import Contents, read_contents

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
PARTS = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "test": "test"}
VALID_SHARE = 0.1  # of a species' training photos, where the data set brings no validation part
ALIKE = (
    0.9  # similarity from which two spellings are one species; PARAKETT AKULET / AUKLET has 0.94
)


class Photo(NamedTuple):
    """One file: its path under the root, its species as spelled in the training part, and its part."""

    path: str
    species: str
    part: str


@dataclasses.dataclass(frozen=True)
class Photos:
    """The photos of a data set after selection, in an order that does not depend on their parts.

    `label[i]` is the index of photo i's species in `species`; `part[i]` is train, valid or test;
    `content[i]` the hash of its file. `notes` counts what the reader did: duplicates dropped,
    unreadable files skipped, spellings joined.
    """

    root: Path
    species: tuple[str, ...]
    paths: tuple[str, ...]
    label: NDArray[np.int64]
    part: NDArray[np.str_]
    content: tuple[str, ...]
    notes: dict[str, int]

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits over species, parts and contents in order: equal digests, equal rows,
        so equal cuts.
        """
        rows = zip(self.label, self.part, self.content, strict=True)
        lines = [f"{self.species[k]}\t{part}\t{content}" for k, part, content in rows]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]

    def rows(self, part: str) -> NDArray[np.int64]:
        """The row numbers of one part, ascending."""
        return np.flatnonzero(self.part == part)


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
def read_photos(
    root: Path,
    cache_dir: Path,
    *,
    species: int,
    move_to_test: int,
    seed: int,
    skip_unreadable: bool = False,
) -> Photos:
    """Read, select and deal out the photos under `root`.

    Keeps the `species` species with most training photos (ties by name), moves `move_to_test`
    seeded training photos of each to the test part, and drops from train (then from valid) every
    photo whose exact content is in a later part. Raises UserError on a missing or empty root, a class
    without photos or too small, unreadable photos unless skipped.
    """
    found, notes = scan_folder(root)
    kept, names = _largest_species(found, species, root)
    contents = read_contents(root, [photo.path for photo in kept], cache_dir)
    good = frozenset(readable([photo.path for photo in kept], contents, root, skip=skip_unreadable))
    kept = [photo for photo in kept if photo.path in good]
    notes["unreadable_skipped"] = len(contents) - len(kept)
    kept = _with_all_parts(kept, names, move_to_test, seed)
    dealt = _without_leaks(kept, contents)
    notes["duplicates_dropped"] = len(kept) - len(dealt)
    order = {name: k for k, name in enumerate(names)}
    dealt.sort(key=lambda photo: (order[photo.species], photo.path))
    return Photos(
        root=root,
        species=names,
        paths=tuple(photo.path for photo in dealt),
        label=np.array([order[photo.species] for photo in dealt], dtype=np.int64),
        part=np.array([photo.part for photo in dealt]),
        content=tuple(contents[photo.path].sha for photo in dealt),
        notes=notes,
    )


def scan_folder(root: Path) -> tuple[list[Photo], dict[str, int]]:
    """Every photo under `root` with its species and part, and counts of stray files and joined
    spellings.

    Raises UserError when the root is missing, holds no photo or cannot be read, or a class folder is
    empty.
    """
    try:
        return _scan(root)
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename}: {error.strerror}; mend it or take it out of data.root"
        ) from None


def _scan(root: Path) -> tuple[list[Photo], dict[str, int]]:
    if not root.is_dir():
        raise UserError(
            f"data.root={root} is no folder; give the folder that holds the photos, or see `make data`"
        )
    folders = sorted(
        entry.name
        for entry in os.scandir(root)
        if entry.is_dir() and not entry.name.startswith(".")
    )
    parts = [name for name in folders if name.casefold() in PARTS]
    notes = {
        "stray_files": sum(entry.is_file() for entry in os.scandir(root)),
        "spellings_joined": 0,
    }
    if not parts:
        found = _photos_in(root, "", "train")
    else:
        found = [
            photo for part in parts for photo in _photos_in(root, part, PARTS[part.casefold()])
        ]
        found, notes["spellings_joined"] = _one_spelling(found)
    if not found:
        raise UserError(
            f"data.root={root} holds no photo: expected train|valid|test/<species>/ or one folder per species"
        )
    return found, notes


def _photos_in(root: Path, part_folder: str, part: str) -> list[Photo]:
    photos: list[Photo] = []
    above = root / part_folder
    for entry in sorted(os.scandir(above), key=lambda e: e.name):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        inside = os.listdir(entry.path)
        names = sorted(name for name in inside if is_photo(name))
        if not names and part == "train":
            if "train" in map(str.casefold, inside):
                raise UserError(
                    f"{above} holds a data set one folder further down: choose data.root={entry.path}"
                )
            raise UserError(
                f"the class {entry.name!r} has no photos in {above}: fill its folder or remove it"
            )
        prefix = f"{part_folder}/{entry.name}" if part_folder else entry.name
        photos += [Photo(f"{prefix}/{name}", entry.name, part) for name in names]
    return photos


def is_photo(name: str) -> bool:
    """Whether a file's name is one of a photo; `._001.jpg`, which macOS leaves beside `001.jpg`, is
    none.
    """
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def plain_name(name: str) -> str:
    """A species name without case, underscores, apostrophes and repeated blanks: what two spellings
    share.
    """
    return " ".join(name.replace("_", " ").replace("'", "").casefold().split())


def _one_spelling(found: Sequence[Photo]) -> tuple[list[Photo], int]:
    """Give every photo the spelling its species has in the training part; count the species that
    were respelled.
    """
    distinct = list(dict.fromkeys((photo.species, photo.part) for photo in found))
    plain = {name: plain_name(name) for name, _ in distinct}
    spelled: dict[str, str] = {}
    for name, _ in sorted(distinct, key=lambda own: own[1] != "train"):
        spelled.setdefault(plain[name], name)
    train = {plain[name] for name, part in distinct if part == "train"}
    joined: dict[str, str] = {}
    for other in dict.fromkeys(part for _, part in distinct if part != "train"):
        names = {plain[name] for name, part in distinct if part == other}
        for name in sorted(names - train):
            near = difflib.get_close_matches(name, sorted(train - names), n=1, cutoff=ALIKE)
            if near:
                joined[name] = near[0]
    new = {name: spelled[joined.get(own, own)] for name, own in plain.items()}
    respelled = [
        p if p.species == new[p.species] else p._replace(species=new[p.species]) for p in found
    ]
    return respelled, len({now for name, now in new.items() if name != now})


def _largest_species(
    found: Sequence[Photo], species: int, root: Path
) -> tuple[list[Photo], tuple[str, ...]]:
    count = Counter(photo.species for photo in found if photo.part == "train")
    if not count:
        parts = " and ".join(sorted({photo.part for photo in found}))
        raise UserError(
            f"data.root={root} has no train part, only {parts}; add train/<species>/ folders"
        )
    if len(count) < 2:
        raise UserError(
            f"data.root={root} has training photos of {len(count)} species; two or more are needed"
        )
    names = sorted(sorted(count, key=lambda name: (-count[name], name))[:species])
    chosen = frozenset(names)
    return [photo for photo in found if photo.species in chosen], tuple(names)


def readable(
    paths: Sequence[str], contents: dict[str, Contents], root: Path, *, skip: bool
) -> list[str]:
    """The paths of photos that can be decoded. Raises UserError when one cannot, unless such are to
    be skipped.
    """
    broken = [path for path in paths if contents[path].error]
    if broken and not skip:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise UserError(
            f"unreadable photo {root / broken[0]}{more} ({contents[broken[0]].error}): "
            "repair it, or leave such photos out with data.skip_unreadable=true"
        )
    return [path for path in paths if not contents[path].error]


def _with_all_parts(
    kept: list[Photo], names: Iterable[str], move_to_test: int, seed: int
) -> list[Photo]:
    """Cut a validation part where there is none, then move seeded training photos of each species
    to the test part.
    """
    have_valid = any(photo.part == "valid" for photo in kept)
    have_test = any(photo.part == "test" for photo in kept)
    if not have_test and move_to_test == 0:
        raise UserError("this data set brings no test part; choose data.move_to_test=1 or more")
    by_species = defaultdict(list)
    for photo in kept:
        if photo.part == "train":
            by_species[photo.species].append(photo)
    moved: dict[str, str] = {}
    for name in names:
        photos = sorted(by_species[name], key=lambda photo: photo.path)
        to_valid = 0 if have_valid else max(1, round(VALID_SHARE * len(photos)))
        if len(photos) < move_to_test + to_valid + 2:
            raise UserError(
                f"{name} has {len(photos)} training photos: too few to move {move_to_test} to test"
                + (f" and {to_valid} to validation" if to_valid else "")
                + " and keep 2; choose a smaller data.move_to_test or fewer data.species"
            )
        order = stream(seed, f"parts/{plain_name(name)}").permutation(len(photos))
        parts = ["test"] * move_to_test + ["valid"] * to_valid
        moved |= {photos[k].path: part for k, part in zip(order, parts, strict=False)}
    return [
        photo._replace(part=moved[photo.path]) if photo.path in moved else photo for photo in kept
    ]


def _without_leaks(kept: Sequence[Photo], contents: dict[str, Contents]) -> list[Photo]:
    """Drop from train what stands in valid or test, and from valid what stands in test, by exact
    content.
    """
    sha = {photo.path: contents[photo.path].sha for photo in kept}
    test = {sha[p.path] for p in kept if p.part == "test"}
    valid = {sha[p.path] for p in kept if p.part == "valid"}
    forbidden = {"train": test | valid, "valid": test, "test": frozenset()}
    return [photo for photo in kept if sha[photo.path] not in forbidden[photo.part]]

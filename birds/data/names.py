"""Names of classes, parts and image files, and which spellings mean the same class.

Names are compared in NFC, without case, underscores, apostrophes or repeated blanks. Two names that
differ by two swapped neighbouring letters are also one class, if one has only training images and
the other has none (BIRDS 525 spells PARAKETT AUKLET in two ways). Names that merely look alike may
be two classes (EASTERN BLUEBIRD, WESTERN BLUEBIRD), so the user must decide.
"""

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from birds.core.errors import UserError
from birds.data.decode import AVIF, HEIF
from birds.data.notes import Notes, printable
from birds.data.sources import Item

PARTS = {
    **dict.fromkeys(("train", "training", "entrenamiento"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "validacion"), "valid"),
    **dict.fromkeys(("test", "testing", "prueba"), "test"),
}
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
    *((".avif",) if AVIF else ()),
    *((".heic", ".heif") if HEIF else ()),
)
NO_CLASS = (  # plain names of folders and labels that usually mean an unknown class
    *("unlabelled", "unlabeled", "unlabelled photos", "no label", "without label", "not labelled"),
    *("unknown", "unidentified", "unsorted", "unclassified", "to label", "to do"),
    *("sin etiqueta", "sin etiquetas", "sin etiquetar", "sin clasificar", "sin identificar"),
    *("desconocido", "desconocida", "desconocidos", "no identificado", "no etiquetado"),
)
LITTER = ("$recycle.bin", "__macosx", "@eadir", "system volume information", "lost+found")
SHORT = 5  # shorter names that differ by one letter are not reported
ALIKE = 0.9  # similarity above which two names may be one class


def part_of(name: str) -> str | None:
    """train, valid or test for an English or Spanish name of a part; else None."""
    letters = unicodedata.normalize("NFD", name.strip().casefold())
    return PARTS.get("".join(x for x in letters if not unicodedata.combining(x)))


def means_no_class(name: str) -> bool:
    """Whether a folder or label of this name usually means images of an unknown class."""
    return plain_name(name.replace("-", " ")) in NO_CLASS


def part_within(name: str) -> str | None:
    """The part in a name such as `train_images` or `Test set`; None if there is none."""
    spoken = {part_of(word) for word in re.split(r"[\W_]+", name)} - {None}
    return spoken.pop() if len(spoken) == 1 else None


def is_image(name: str) -> bool:
    """Whether a file's name is that of a readable image format.

    `._001.jpg`, which macOS writes next to `001.jpg`, is not an image.
    """
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def is_left_out(folder: str) -> bool:
    """Whether a folder of this name is never read: hidden folders and the system's trash."""
    return folder.startswith(".") or folder.casefold() in LITTER


def class_name(name: str) -> str:
    """The class name of a folder or label, in NFC; names that are not UTF-8 are read as cp1252."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogateescape")
        try:
            name = raw.decode("cp1252")
        except UnicodeDecodeError:
            name = raw.decode("latin-1")
    return unicodedata.normalize("NFC", name)


def plain_name(name: str) -> str:
    """A class name for comparison: without case, underscores, apostrophes and repeated blanks."""
    letters = unicodedata.normalize("NFC", name).replace("_", " ").replace("'", "").casefold()
    return unicodedata.normalize("NFC", " ".join(letters.split()))


def is_swap(one: str, other: str) -> bool:
    """Whether two names differ only by two swapped neighbouring letters."""
    if len(one) != len(other):
        return False
    places = [k for k, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]]
    if len(places) != 2 or places[1] != places[0] + 1:
        return False
    pair = one[places[0] : places[1] + 1]
    return pair.isalpha() and pair[::-1] == other[places[0] : places[1] + 1]


def one_spelling(
    items: Sequence[Item], *, join_alike: bool | None = None
) -> tuple[list[Item], Notes]:
    """Give every item the spelling of its class in the training part.

    `join_alike` is about a validation or test class without training images whose name resembles a
    class that has training images only: True merges them, False keeps them apart, None raises
    UserError.
    """
    spelled = _spellings(items)
    train = {plain for part, plain in spelled if part == "train"}
    joined: dict[str, str] = {}
    for part in ("valid", "test"):
        here = {plain for other, plain in spelled if other == part}
        for name in sorted(here - train):
            match = _match(name, sorted(train - here), join_alike)
            if match is None:
                continue
            if join_alike is None and not is_swap(name, match):
                _refuse_alike(spelled[part, name][0], spelled["train", match][0], part)
            joined[name] = match
    first: dict[str, str] = {}
    for (_, plain), names in sorted(spelled.items(), key=lambda pair: pair[0][0] != "train"):
        first.setdefault(plain, names[0])
    return _respelled(items, first, joined)


def alike_pairs(names: Iterable[str]) -> list[str]:
    """Pairs of classes whose names have five or more letters and differ by one typing error (an
    added, missing, replaced or swapped letter).
    """
    having: dict[str, list[str]] = defaultdict(list)
    for name in names:
        plain = plain_name(name)
        if len(plain) < SHORT:
            continue
        shortened = {plain[:k] + plain[k + 1 :] for k in range(len(plain)) if plain[k].isalpha()}
        for key in (plain, *sorted(shortened)):
            having[key].append(name)
    pairs = {tuple(sorted(group)) for group in having.values() if len(group) == 2}
    return sorted(" ~ ".join(pair) for pair in pairs)


def _spellings(items: Iterable[Item]) -> dict[tuple[str, str], list[str]]:
    """The spellings of each part and plain name, in the order of the items."""
    spelled: dict[tuple[str, str], list[str]] = defaultdict(list)
    distinct = dict.fromkeys((item.part or "train", item.label) for item in items)
    for part, label in distinct:
        if label is not None:
            spelled[part, plain_name(label)].append(label)
    return dict(spelled)


def _match(name: str, lacking: list[str], join_alike: bool | None) -> str | None:
    """The class among `lacking` of which `name` may be another spelling; None if there is none."""
    swapped = [other for other in lacking if is_swap(name, other)]
    if len(swapped) == 1:
        return swapped[0]
    near = difflib.get_close_matches(name, lacking, n=1, cutoff=ALIKE)
    return near[0] if near and join_alike is not False else None


def _refuse_alike(name: str, other: str, part: str) -> None:
    raise UserError(
        f"the class {printable(name)!r} has {part} images and no training images, and "
        f"{printable(other)!r} has training images and no {part} images: if they are one class, "
        "choose data.join_alike=true or rename a folder; if they are two, data.join_alike=false"
    )


def _respelled(
    items: Sequence[Item], first: dict[str, str], joined: dict[str, str]
) -> tuple[list[Item], Notes]:
    new: dict[str | None, str | None] = {None: None}
    ways: dict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys(item.label for item in items if item.label is not None):
        plain = plain_name(label)
        now = first[joined.get(plain, plain)]
        new[label] = now
        if label != now:
            ways[now].append(label)
    respelled = [
        item if item.label == new[item.label] else item._replace(label=new[item.label])
        for item in items
    ]
    said = [f"{now} ({', '.join(others)})" for now, others in ways.items()]
    return respelled, Notes({"spellings_joined": ()}).having("spellings_joined", said)

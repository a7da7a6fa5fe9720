"""What a reader left out, joined, renamed or scaled: counted, and named.

Nothing of that kind happens in silence. A sweep prints the lines once before it starts, `birds data
check` prints them, the record keeps the counts, and a file in the cache folder has every name.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from birds.core.store import write_text

NAMED = 5  # how many names a line gives
WORDS = {
    "stray_files": "files beside the folders of the data set, left out",
    "other_files": "files in class folders that are no images by their name, left out",
    "images_outside": "images that lie in no class folder, left out",
    "images_too_deep": "images in folders below a class folder, left out",
    "folders_left_out": "folders left out (hidden, trash, or beside the parts)",
    "folders_unread": "folders beside the parts that look unlabelled, left out; "
    "data.unlabelled=FOLDER reads them",
    "empty_classes": "class folders of validation or test without images",
    "linked_folders": "linked folders, read",
    "loops_left_out": "links to folders that were read already, left out",
    "names_changed": "names rewritten (composed accents, or a name that was not UTF-8)",
    "spellings_joined": "classes spelled in several ways, joined",
    "classes_alike": "pairs of classes whose names differ by one letter, kept apart",
    "undecided": "names that a sweep would ask about",
    "classes_untrained": "classes without training images, left out",
    "classes_untested": "classes without test images",
    "classes_unvalidated": "classes without validation images",
    "unlabelled_left_out": "validation or test images without a label, left out",
    "unreadable_skipped": "unreadable images, left out",
    "duplicates_dropped": "copies of validation or test images, dropped from the earlier part",
    "groups_dropped": "images of groups that stand in validation or test, too, dropped from the "
    "earlier part",
    "labels_contradicting": "pairs of equal images with different labels, kept",
    "classes_small": "classes with fewer images than data.min_images, left out",
    "columns_unread": "columns that look like groups and are not read; data.table.columns.group=NAME",
    "rows_unnamed": "images under the root that the table does not name, read as unlabelled",
    "classes_of_one_name": "class folders of one name, told apart by the folder above",
    "folders_apart": "folders of data.unlabelled, read as unlabelled",
    "pool_judged": "unlabelled images that stand in validation or test, left out",
    "scaled_greys": "images with greys deeper than 8 bits, scaled",
    "rows_doubled": "rows of the table that stand there twice, read once",
    "rows_missing": "rows of the table without a file, left out",
    "pool_dropped": "unlabelled images that the data set has already, or that stand there twice",
}


@dataclasses.dataclass(frozen=True)
class Notes:
    """By kind, the names of what was left out, joined, renamed or scaled.

    `kept_in` is the file with every name, where one was written.
    """

    found: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    kept_in: Path | None = None

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of one kind, none where nothing of that kind happened."""
        return self.found.get(kind, ())

    def counts(self) -> dict[str, int]:
        """How many names each kind has; a kind that was looked for and not found has 0."""
        return {kind: len(names) for kind, names in self.found.items()}

    def lines(self) -> list[str]:
        """A line for each kind that happened, with its first five names."""
        lines = [_line(kind, names) for kind, names in self.found.items() if names]
        if self.kept_in is not None:
            lines.append(f"every name is in {self.kept_in}")
        return lines

    def having(self, kind: str, names: Iterable[str]) -> "Notes":
        """These notes with more names of one kind."""
        more = self.names(kind) + tuple(map(printable, names))
        return dataclasses.replace(self, found={**self.found, kind: more})

    def beside(self, other: "Notes") -> "Notes":
        """These notes and those of `other`."""
        both = self
        for kind, names in other.found.items():
            both = both.having(kind, names)
        return both

    def written(self, file: Path) -> "Notes":
        """Write every name into `file` if a line leaves some out; returns the notes that say so."""
        if all(len(names) <= NAMED for names in self.found.values()):
            return self
        text = "".join(_section(kind, names) for kind, names in self.found.items() if names)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
        return dataclasses.replace(self, kept_in=file)


def printable(name: str) -> str:
    """A name on one line that any UTF-8 terminal can show."""
    safe = name.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in safe)


def listed(names: Iterable[str]) -> str:
    """The first five names, and how many more there are."""
    every = [printable(name) for name in names]
    more = len(every) - NAMED
    return ", ".join(every[:NAMED]) + (f" and {more} more" if more > 0 else "")


def words(kind: str) -> str:
    """What a kind means, in words."""
    return WORDS.get(kind, kind.replace("_", " "))


def _line(kind: str, names: tuple[str, ...]) -> str:
    return f"{len(names)} {words(kind)}: {listed(names)}"


def _section(kind: str, names: tuple[str, ...]) -> str:
    rows = "".join(f"  {name}\n" for name in names)
    return f"{len(names)} {words(kind)}:\n{rows}\n"

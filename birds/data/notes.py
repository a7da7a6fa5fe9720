"""Notes on images and classes that a reader left out, merged, renamed or scaled.

A sweep prints the notes once before it starts, and `birds data check` prints them. The record keeps
the counts, and a file in the cache folder lists every name.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from birds.core.store import write_text

NAMED = 5  # how many names a line gives
WORDS = {
    "stray_files": "files outside the folders of the data set, left out",
    "other_files": "files in class folders that are not images by their name, left out",
    "images_outside": "images outside any class folder, left out",
    "images_too_deep": "images in folders below a class folder, left out",
    "folders_left_out": "folders left out (hidden, trash, or not a part)",
    "folders_unread": "folders next to the parts that look unlabelled, left out; "
    "data.unlabelled=FOLDER reads them",
    "empty_classes": "class folders of validation or test without images",
    "linked_folders": "linked folders, read",
    "loops_left_out": "links to folders that were already read, left out",
    "names_changed": "names rewritten (composed accents, or a name that was not UTF-8)",
    "spellings_joined": "classes with several spellings, merged",
    "classes_alike": "pairs of classes whose names differ by one letter, kept apart",
    "undecided": "names that you must decide on before a sweep",
    "classes_untrained": "classes without training images, left out",
    "classes_untested": "classes without test images",
    "classes_unvalidated": "classes without validation images",
    "unlabelled_left_out": "validation or test images without a label, left out",
    "unreadable_skipped": "unreadable images, left out",
    "duplicates_dropped": "copies of validation or test images, removed from the other part",
    "groups_dropped": "images of groups that are also in validation or test, removed from the "
    "other part",
    "labels_contradicting": "pairs of equal images with different labels, kept",
    "classes_small": "classes with fewer images than data.min_images, left out",
    "columns_unread": "columns that look like groups, not read; see data.table.columns.group=NAME",
    "rows_unnamed": "images under the root that the table does not list, read as unlabelled",
    "classes_of_one_name": "class folders with equal names, distinguished by the folder above",
    "folders_apart": "folders of data.unlabelled, read as unlabelled",
    "pool_judged": "unlabelled images that are also in validation or test, left out",
    "scaled_greys": "images with more than 8 bits of grey, scaled to 8",
    "rows_doubled": "repeated rows of the table, read once",
    "rows_missing": "rows of the table without a file, left out",
    "pool_dropped": "unlabelled images that are already in the data set or repeated, left out",
}


@dataclasses.dataclass(frozen=True)
class Notes:
    """The names of what was left out, merged, renamed or scaled, by kind.

    `kept_in` is the file with every name, if one was written.
    """

    found: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    kept_in: Path | None = None

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of one kind; empty if there are none."""
        return self.found.get(kind, ())

    def counts(self) -> dict[str, int]:
        """The number of names of each kind; 0 for a kind that was checked and not found."""
        return {kind: len(names) for kind, names in self.found.items()}

    def lines(self) -> list[str]:
        """One line for each kind with names, with the first five names."""
        lines = [_line(kind, names) for kind, names in self.found.items() if names]
        if self.kept_in is not None:
            lines.append(f"all names are in {self.kept_in}")
        return lines

    def having(self, kind: str, names: Iterable[str]) -> "Notes":
        """These notes plus more names of one kind."""
        more = self.names(kind) + tuple(map(printable, names))
        return dataclasses.replace(self, found={**self.found, kind: more})

    def beside(self, other: "Notes") -> "Notes":
        """These notes plus those of `other`."""
        both = self
        for kind, names in other.found.items():
            both = both.having(kind, names)
        return both

    def written(self, file: Path) -> "Notes":
        """Write all names into `file` if a line cannot show them all; returns the updated notes."""
        if all(len(names) <= NAMED for names in self.found.values()):
            return self
        text = "".join(_section(kind, names) for kind, names in self.found.items() if names)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
        return dataclasses.replace(self, kept_in=file)


def printable(name: str) -> str:
    """A name in one line that every UTF-8 terminal can show."""
    safe = name.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in safe)


def listed(names: Iterable[str]) -> str:
    """The first five names, and the number of further names."""
    every = [printable(name) for name in names]
    more = len(every) - NAMED
    return ", ".join(every[:NAMED]) + (f" and {more} more" if more > 0 else "")


def words(kind: str) -> str:
    """The meaning of a kind."""
    return WORDS.get(kind, kind.replace("_", " "))


def _line(kind: str, names: tuple[str, ...]) -> str:
    return f"{len(names)} {words(kind)}: {listed(names)}"


def _section(kind: str, names: tuple[str, ...]) -> str:
    rows = "".join(f"  {name}\n" for name in names)
    return f"{len(names)} {words(kind)}:\n{rows}\n"

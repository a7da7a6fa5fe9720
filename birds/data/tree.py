"""A source of unlabelled images: every image below a folder, in any subfolder."""

import os
from pathlib import Path

from birds.core.errors import UserError
from birds.data.files import Files, id_of
from birds.data.names import is_image, is_left_out
from birds.data.notes import Notes
from birds.data.sources import Item, Scan


class Tree(Files):
    """Every image below a folder, in any subfolder; a linked folder is read once.

    Args:
        root: the folder.
        key: its key on the command line, for messages.
    """

    def __init__(self, root: Path, key: str = "pool") -> None:
        super().__init__(root)
        self.key = key

    def scan(self) -> Scan:
        """Every image, without label or part. Raises UserError for a folder without images."""
        if not self.root.is_dir():
            other = "split, all_classes or " if self.key == "pool" else ""
            raise UserError(
                f"{self.key}={self.place} is not a folder; choose {other}a folder of images"
            )
        paths, notes = self.walk()
        if not paths:
            raise UserError(f"{self.key}={self.place} contains no image")
        return Scan([Item(id_of(path), None, None) for path in sorted(paths)], notes)

    def walk(self) -> tuple[list[str], Notes]:
        """The path of every image under the root, and notes on left-out and linked folders."""
        paths: list[str] = []
        noted: dict[str, list[str]] = {}
        entered = {os.path.realpath(self.root)}
        for above, folders, names in os.walk(self.root, followlinks=True):
            kept = []
            for name in sorted(folders):
                kind = self._kind(os.path.join(above, name), entered)
                if kind is not None:
                    path = os.path.relpath(os.path.join(above, name), self.root)
                    noted.setdefault(kind, []).append(id_of(path))
                if kind in (None, "linked_folders"):
                    kept.append(name)
            folders[:] = kept
            for name in names:
                path = os.path.relpath(os.path.join(above, name), self.root)
                if is_image(name):
                    paths.append(path)
                else:
                    noted.setdefault("stray_files", []).append(id_of(path))
        notes = Notes()
        for kind, found in noted.items():
            notes = notes.having(kind, found)
        return paths, notes

    def _kind(self, folder: str, entered: set[str]) -> str | None:
        """The kind of note for a folder; None for an ordinary folder."""
        if is_left_out(os.path.basename(folder)):
            return "folders_left_out"
        real = os.path.realpath(folder)
        if self.apart is not None and real == str(self.apart):
            return "folders_apart"
        if real in entered:
            return "loops_left_out"
        entered.add(real)
        return "linked_folders" if os.path.islink(folder) else None

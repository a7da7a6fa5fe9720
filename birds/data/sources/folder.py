"""Folders of classes: `train|valid|test/<class>/x.jpg` as in BIRDS 525, or `<class>/x.jpg`.

The class of an image is its folder; a CSV is not needed. Parts may also be called training,
validation, val, testing, entrenamiento, validacion and prueba, in upper or lower case. The notes
list everything that is left out.

`class_from` defines the meaning of folders below a class folder: with `top` they belong to the
class above; with `leaf` (`genus/species/x.jpg`) the innermost folder is the class.
"""

import os
from pathlib import Path
from typing import Literal

from birds.core.errors import UserError
from birds.core.spec import NUMBERS_ARE_NAMES, Choices
from birds.data.files import Files, id_of, root_folder
from birds.data.names import (
    class_name,
    is_image,
    is_left_out,
    means_no_class,
    part_of,
    part_within,
)
from birds.data.notes import Notes, listed
from birds.data.selection import question
from birds.data.sources import Item, Scan

EXPECTED = "expected train|valid|test/<class>/ or one folder per class"


class Folder(Files):
    """The images under a root, with their folders as classes."""

    class Options(Choices):
        """root: the folder. hint: how to obtain it, for messages. class_from: which of several
        nested folders is the class; null reads only images directly in a class folder.
        """

        model_config = NUMBERS_ARE_NAMES

        root: str | None = None
        class_from: Literal["top", "leaf"] | None = None
        hint: str = ""

    def __init__(self, options: Options) -> None:
        super().__init__(root_folder(options.root, name="folder", hint=options.hint))
        self.options = options

    def scan(self) -> Scan:
        """Every image with its class and part.

        Raises UserError if the root is missing, contains no image or cannot be read, or if a class
        folder of the training part is empty.
        """
        try:
            return _Reader(self).scan()
        except OSError as error:
            name = id_of(os.fsdecode(error.filename or self.root))
            raise UserError(
                f"cannot read {name}: {error.strerror}; repair it or remove it from data.root"
            ) from None


class _Reader:
    """One scan of a root, which collects items and notes."""

    def __init__(self, source: Folder) -> None:
        self.source = source
        self.root = source.root
        self.class_from = source.options.class_from
        self.items: list[Item] = []
        self.noted: dict[str, list[str]] = {"stray_files": []}

    def scan(self) -> Scan:
        if not self.root.is_dir():
            raise UserError(
                f"data.root={self.root} is not a folder; give the folder of the images (`make "
                "data` says how to obtain BIRDS 525)"
            )
        names = self._folders("", stray="stray_files")
        parts = {name: part for name in names if (part := part_of(name))}
        if self._has_parts(names, parts):
            for name in names:
                if name not in parts:
                    self._note(
                        "folders_unread" if means_no_class(name) else "folders_left_out", name
                    )
            for name, part in parts.items():
                self._read_part(name, part)
        else:
            self._refuse_likely_parts(names)
            self._read_classes("", names, None)
        if not self.items:
            raise UserError(f"data.root={self.root} contains no image: {EXPECTED}{self._beside()}")
        if self.class_from == "leaf":
            self._tell_apart()
        notes = Notes()
        for kind, found in self.noted.items():
            notes = notes.having(kind, found)
        return Scan(self.items, notes)

    def _note(self, kind: str, name: str) -> None:
        self.noted.setdefault(kind, []).append(id_of(name))

    def _folders(self, above: str, stray: str) -> list[str]:
        """The names of the folders in a folder, sorted; files are noted as `stray`."""
        names = []
        for entry in sorted(os.scandir(self.root / above), key=lambda entry: entry.name):
            path = f"{above}/{entry.name}" if above else entry.name
            if not entry.is_dir():
                self._note(stray, path)
            elif is_left_out(entry.name):
                self._note("folders_left_out", path)
            elif self.source.is_apart(path):
                self._note("folders_apart", path)
            else:
                names.append(entry.name)
                if entry.is_symlink():
                    self._note("linked_folders", path)
        return names

    def _has_parts(self, names: list[str], parts: dict[str, str]) -> bool:
        """Whether the folders with names of parts really are parts, that is, contain folders.

        In a root with buses, cars and trains, `train` contains only images, so it is a class.
        """
        if not parts:
            return False
        if any(self._holds(name)[1] for name in parts):
            return True
        bare = [name for name in parts if self._holds(name)[0]]
        if not bare:
            return True
        if len(parts) < len(names):
            return False
        raise UserError(
            f"{self.root}/{id_of(bare[0])} contains images but no folder per class: {EXPECTED}, or "
            "use data=table with a CSV of the images' classes"
        )

    def _holds(self, path: str) -> tuple[bool, bool]:
        """Whether a folder contains images, and whether it contains folders."""
        images = folders = False
        for entry in os.scandir(self.root / path):
            if is_image(entry.name):
                images = True
            elif not is_left_out(entry.name) and entry.is_dir():
                folders = True
        return images, folders

    def _refuse_likely_parts(self, names: list[str]) -> None:
        """Raise UserError for folders such as `train_images`, which would be read as classes."""
        likely = {name: part for name in names if (part := part_within(name))}
        folders = [name for name in likely if self._holds(name)[1] or len(likely) == len(names)]
        if folders and "train" in likely.values():
            name = folders[0]
            raise UserError(
                f"{self.root} has a folder {id_of(name)!r}, which looks like a part of the "
                f"data set and would be read as a class: rename it to {likely[name]} (parts are "
                "train, valid and test, each with a folder per class)"
            )

    def _read_part(self, folder: str, part: str) -> None:
        names = self._folders(folder, stray="other_files")
        outside = [path for path in self.noted.get("other_files", ()) if path.startswith(folder)]
        for path in outside:
            name = path[len(folder) + 1 :]
            if is_image(name) and "/" not in name:
                self.noted["other_files"].remove(path)
                self._note("images_outside", path)
        self._read_classes(folder, names, part)

    def _read_classes(self, above: str, names: list[str], part: str | None) -> None:
        for name in names:
            folder = f"{above}/{name}" if above else name
            label = class_name(name)
            if label != name:
                self._note("names_changed", folder)
            images = self._images(folder)
            if self.class_from:
                images = sorted(images + self._images_below(folder))
            prefix = id_of(folder)
            for image in images:
                below = image.rpartition("/")[0] if self.class_from == "leaf" else ""
                of = class_name(below.rpartition("/")[2]) if below else label
                self.items.append(Item(f"{prefix}/{id_of(image)}", of, part))
            if not images and part in ("train", None):
                self._refuse_empty(folder, above)
            if not images:
                self._note("empty_classes", folder)

    def _images(self, folder: str) -> list[str]:
        """The names of the images in a class folder, sorted; everything else is noted."""
        names = []
        for entry in os.scandir(self.root / folder):
            path = f"{folder}/{entry.name}"
            if is_image(entry.name):
                names.append(entry.name)
            elif not entry.is_dir():
                self._note("other_files", path)
            elif is_left_out(entry.name):
                self._note("folders_left_out", path)
            elif not self.class_from:
                self._note_below(path)
        return sorted(names)

    def _note_below(self, folder: str) -> None:
        """Note the images in a folder below a class folder, with its subfolders."""
        for above, folders, names in os.walk(self.root / folder):
            folders[:] = sorted(name for name in folders if not is_left_out(name))
            for name in sorted(names):
                if is_image(name):
                    path = os.path.relpath(os.path.join(above, name), self.root)
                    self._note("images_too_deep", path)

    def _images_below(self, folder: str) -> list[str]:
        """The images in all subfolders of a class folder, as paths under it."""
        found = []
        for above, folders, names in os.walk(self.root / folder):
            own = os.path.relpath(above, self.root)
            folders[:] = [name for name in folders if self._is_read(f"{own}/{name}")]
            if own != folder:
                paths = [os.path.join(above, name) for name in names if is_image(name)]
                found += [os.path.relpath(path, self.root / folder) for path in paths]
        return found

    def _is_read(self, folder: str) -> bool:
        return not is_left_out(os.path.basename(folder)) and not self.source.is_apart(folder)

    def _tell_apart(self) -> None:
        """Add the name of the folder above where several class folders have one name."""
        places: dict[str, set[str]] = {}
        for item in self.items:
            places.setdefault(str(item.label), set()).add(self._above(item))
        shared = {label for label, above in places.items() if len(above) > 1}
        for k, item in enumerate(self.items):
            if item.label in shared:
                label = f"{self._above(item)} {item.label}".strip()
                self.items[k] = item._replace(label=class_name(label))
        for label in sorted(shared):
            self._note("classes_of_one_name", label)

    def _above(self, item: Item) -> str:
        """The folder above an image's folder; empty if that is a part or the root."""
        above = item.id.split("/")[:-2]
        return above[-1] if above and (item.part is None or len(above) > 1) else ""

    def _refuse_empty(self, folder: str, above: str) -> None:
        """Raise UserError that says why a training class has no images, and what to do."""
        place = id_of(f"{self.root}/{above}".rstrip("/"))
        inside = os.listdir(self.root / folder)
        if "train" in map(part_of, inside):
            raise UserError(
                f"{place} contains the data set in a subfolder: choose "
                f"data.root={id_of(f'{self.root}/{folder}')}"
            )
        if means_no_class(Path(folder).name):
            below = len(self._images_below(folder))
            if below:
                raise UserError(question(Path(folder).name, below, self.source, id_of(folder)))
        beside = [name for name in os.listdir(self.root / above) if means_no_class(name)]
        if beside and Path(folder).name.casefold() in ("labelled", "labeled", "etiquetadas"):
            raise UserError(
                f"{place} contains a folder of labelled and a folder of unlabelled images: choose "
                f"data.root={id_of(f'{self.root}/{folder}')} data.unlabelled={place}/"
                f"{id_of(beside[0])}"
            )
        prefix = id_of(folder) + "/"
        deep = [name for name in self.noted.get("images_too_deep", ()) if name.startswith(prefix)]
        if deep:
            raise UserError(
                f"the class {class_name(Path(folder).name)!r} has its {len(deep)} images in "
                f"subfolders ({listed(deep[:1])}): move them into {place}/{Path(prefix).name}, or "
                "choose data.class_from=top (the upper folder is the class) or leaf (the last one)"
            )
        raise UserError(
            f"the class {class_name(Path(folder).name)!r} has no images in {place}: fill its folder"
            " or remove it"
        )

    def _beside(self) -> str:
        """A note on images directly in the root; empty if there are none."""
        images = [name for name in self.noted["stray_files"] if is_image(name)]
        if not images:
            return ""
        return (
            f"; it has {len(images)} images outside any folder: put each class into a folder, or "
            "use data=table with a CSV of the images' classes"
        )

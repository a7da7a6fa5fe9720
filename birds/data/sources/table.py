"""A table of images: a CSV with one row per image, with its file and, if known, class and part.

A row without a label is an unlabelled image, and so is every image below the root without a row. A
column `group` says which images belong together, such as those of one nest, camera or burst. A
column is given by its name, or by its number from 1 if the table has no header. Columns that are
not given are found by common names.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from birds.core.errors import UserError, nearest
from birds.core.spec import NUMBERS_ARE_NAMES, Choices
from birds.data.csv_rows import Rows, read_rows
from birds.data.files import Files, id_of, root_folder
from birds.data.names import class_name, part_of
from birds.data.notes import Notes, listed
from birds.data.sources import Item, Scan
from birds.data.tree import Tree

Column = int | str | None
USUAL = {  # common names of columns, for columns that are not given
    "file": ("file", "files", "filename", "filepath", "filepaths", "path", "image", "image_path"),
    "label": ("label", "labels", "class", "species", "category", "target"),
    "part": ("part", "split", "set", "data set", "dataset", "subset"),
    "group": ("group", "groups", "group_id"),
}
LIKE_GROUPS = ("nest", "camera", "burst", "video", "individual", "sequence", "session", "site")


class _Columns(Choices):
    """The column of each meaning: a name, a number from 1, or null to search for it."""

    file: Column = None
    label: Column = None
    part: Column = None
    group: Column = None


class Table(Files):
    """The images that a CSV lists, below a root."""

    class Options(Choices):
        """The table and how to read it.

        `file` is the CSV, under the root or elsewhere. `delimiter` null detects it. `suffix` is
        appended to each file name (such as `.jpg`). `skip_missing` leaves out rows without a file.
        `unnamed` says whether images below the root without a row are unlabelled or left out.
        """

        model_config = NUMBERS_ARE_NAMES

        root: str | None = None
        file: str | None = None
        columns: _Columns = _Columns()
        delimiter: str | None = None
        header: bool = True
        suffix: str = ""
        skip_missing: bool = False
        unnamed: Literal["unlabelled", "left_out"] = "unlabelled"
        hint: str = ""

    def __init__(self, options: Options) -> None:
        super().__init__(root_folder(options.root, name="table", hint=options.hint))
        self.options = options

    def scan(self) -> Scan:
        """Every image with its label and part. Raises UserError with the cure."""
        if not self.root.is_dir():
            raise UserError(f"data.root={self.root} is not a folder; give the folder of the images")
        table = self._table()
        rows = read_rows(table, self.options.delimiter)
        columns = self._columns(rows, table)
        body = rows.cells[1:] if self.options.header else rows.cells
        items = [self._item(cells, columns, table) for cells in body]
        checked = self._checked(items, table)
        unread = [] if "group" in columns else self._like_groups(rows)
        notes = checked.notes.having("columns_unread", unread) if unread else checked.notes
        if self.options.unnamed == "left_out":
            return Scan(checked.items, notes)
        return self._with_unnamed(Scan(checked.items, notes))

    def _like_groups(self, rows: Rows) -> list[str]:
        if not self.options.header:
            return []
        return [cell for cell in rows.cells[0] if cell.strip().casefold() in LIKE_GROUPS]

    def _with_unnamed(self, scan: Scan) -> Scan:
        """The images of the table, then the images below the root that it does not list."""
        tree = Tree(self.root)
        tree.apart = self.apart
        paths, _ = tree.walk()
        named = {item.id for item in scan.items}
        unnamed = sorted(name for path in paths if (name := id_of(path)) not in named)
        if not unnamed:
            return scan
        further = [Item(name, None, None) for name in unnamed]
        return Scan(scan.items + further, scan.notes.having("rows_unnamed", unnamed))

    def _table(self) -> Path:
        if not self.options.file:
            found = sorted(path.name for path in self.root.glob("*.csv"))
            hint = f" (found: {listed(found)})" if found else ""
            raise UserError(f"data=table needs data.table.file=FILE.csv, the table of images{hint}")
        given = Path(self.options.file).expanduser()
        for path in (self.root / given, given.absolute()):
            if path.is_file():
                return path
        raise UserError(
            f"data.table.file={self.options.file} is not a file, neither here nor in {self.root}"
        )

    def _columns(self, rows: Rows, table: Path) -> dict[str, int]:
        """The position, from 0, of each column that the table has, by meaning."""
        chosen = self.options.columns.model_dump()
        found: dict[str, int] = {}
        for meaning, column in chosen.items():
            place = self._place(meaning, column, rows, table)
            if place is not None:
                found[meaning] = place
        if "file" not in found:
            self._refuse_header(rows, table)
        if len(set(found.values())) < len(found):
            raise UserError(
                f"data.table.columns gives one column of {table} two meanings: {chosen}"
            )
        return found

    def _place(self, meaning: str, column: Column, rows: Rows, table: Path) -> int | None:
        """The position of one column, from 0; None if the table does not have it."""
        names = [cell.strip().casefold() for cell in rows.cells[0]]
        if isinstance(column, int) and not isinstance(column, bool):
            if not 1 <= column <= len(names):
                raise UserError(
                    f"data.table.columns.{meaning}={column}: {table} has {len(names)} columns "
                    "when split "
                    f"at {rows.delimiter!r}; columns are counted from 1"
                )
            return column - 1
        if not self.options.header:
            return self._usual_place(meaning, column, len(names))
        if column is None:
            usual = [names.index(name) for name in USUAL[meaning] if name in names]
            return usual[0] if usual else None
        if str(column).strip().casefold() not in names:
            raise UserError(
                f"data.table.columns.{meaning}={column}: {table} has no such column"
                f"{nearest(str(column), rows.cells[0])} Split at {rows.delimiter!r}, it has: "
                f"{listed(rows.cells[0])}{rows.other_delimiter()}"
            )
        return names.index(str(column).strip().casefold())

    def _usual_place(self, meaning: str, column: Column, width: int) -> int | None:
        """The position without a header: the first column is the file, the second the label."""
        if column is not None:
            raise UserError(
                f"data.table.columns.{meaning}={column}: with data.table.header=false columns "
                "have no names; "
                "give a number, 1 for the first"
            )
        place = {"file": 0, "label": 1}.get(meaning)
        return place if place is not None and place < width else None

    def _refuse_header(self, rows: Rows, table: Path) -> None:
        first = rows.cells[0]
        if any(self._exists(cell) for cell in first):
            raise UserError(
                f"the first row of {table} names an image, so the table has no header: choose "
                "data.table.header=false"
            )
        raise UserError(
            f"{table} has no column with a known name for files; split at "
            f"{rows.delimiter!r} it has: {listed(first)}{rows.other_delimiter()}. Choose one with "
            "data.table.columns.file=NAME"
        )

    def _exists(self, cell: str) -> bool:
        try:
            return bool(cell.strip()) and (self.root / self._path(cell)).is_file()
        except (OSError, ValueError):  # a name too long, or with a zero byte
            return False

    def _path(self, cell: str) -> str:
        """The path under the root in a cell; backslashes count as slashes."""
        return cell.strip().replace("\\", "/").removeprefix("./") + self.options.suffix

    def _item(self, cells: Sequence[str], columns: dict[str, int], table: Path) -> Item:
        values = {
            meaning: cells[place].strip() if place < len(cells) else ""
            for meaning, place in columns.items()
        }
        if not values["file"]:
            raise UserError(f"{table} has a row without a file: {listed(cells)}; fix or remove it")
        label = class_name(values.get("label", "")) or None
        group = values.get("group") or None
        return Item(self._id(values["file"], table), label, self._part(values, table), group)

    def _id(self, cell: str, table: Path) -> str:
        path = Path(self._path(cell))
        if path.is_absolute() and path.is_relative_to(self.root):
            path = path.relative_to(self.root)
        if path.is_absolute() or ".." in path.parts:
            raise UserError(
                f"{table} lists {cell}, which is not below data.root={self.root}: choose a root "
                "that contains all images"
            )
        return id_of(str(path))

    def _part(self, values: dict[str, str], table: Path) -> str | None:
        text = values.get("part", "")
        part = part_of(text)
        if text and part is None:
            raise UserError(
                f"{table} has the part {text!r} for {values['file']}: parts are train, valid and "
                "test; correct it, or choose another data.table.columns.part"
            )
        return part

    def _checked(self, items: list[Item], table: Path) -> Scan:
        """The items whose file exists, each once."""
        once: dict[str, Item] = {}
        doubled = []
        for item in items:
            known = once.setdefault(item.id, item)
            if known != item:
                raise UserError(
                    f"{table} lists {item.id} twice, as {_said(known)} and as {_said(item)}: keep "
                    "one row"
                )
            if known is not item:
                doubled.append(item.id)
        missing = [name for name in once if not self._is_file(name)]
        if missing and not self.options.skip_missing:
            self._refuse_missing(missing, list(once), table)
        absent = frozenset(missing)
        kept = [item for item in once.values() if item.id not in absent]
        if not kept:
            raise UserError(f"{table} lists no image that is below data.root={self.root}")
        notes = Notes().having("rows_doubled", doubled).having("rows_missing", missing)
        return Scan(kept, notes)

    def _is_file(self, name: str) -> bool:
        try:
            return self.file(name).is_file()
        except (OSError, ValueError):
            return False

    def _refuse_missing(self, missing: list[str], names: list[str], table: Path) -> None:
        if not self.options.header and missing == names[:1] and len(names) > 1:
            raise UserError(
                f"the first row of {table} names no image ({missing[0]}): if it is a header, "
                "choose data.table.header=true"
            )
        raise UserError(
            f"{table} lists {len(names)} images, and {len(missing)} of them are not below "
            f"data.root={self.root}: {listed(missing)}. Choose another data.root, "
            "data.table.columns.file or data.table.suffix, or leave out these rows with "
            "data.table.skip_missing=true"
        )


def _said(item: Item) -> str:
    label = "no label" if item.label is None else repr(item.label)
    group = f" in group {item.group}" if item.group else ""
    return (f"{label} of {item.part}" if item.part else label) + group

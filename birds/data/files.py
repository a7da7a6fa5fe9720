"""Image files under one folder: the base of the sources that read files."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.data.contents import Contents, read_contents
from birds.data.decode import Look, decode_image
from birds.data.notes import printable

ODD = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, as Python reads them in names


class Files:
    """Image files under a root; the id of an image is its path under the root.

    In the id of a path that is not UTF-8, invalid bytes are written `\\xNN`, so that every record,
    table and terminal accepts it; `file` converts back.
    apart: a folder, perhaps below the root, that this source does not read.
    """

    apart: Path | None = None

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def place(self) -> str:
        """The root."""
        return str(self.root)

    def prepare(self) -> None:
        """Does nothing: the files exist."""

    def file(self, id: str) -> Path:
        """The file of an image."""
        return self.root / path_of(id)

    def is_apart(self, folder: str) -> bool:
        """Whether a folder, given by its path under the root, is `apart`."""
        return self.apart is not None and (self.root / folder).resolve() == self.apart

    def contents(self, ids: Sequence[str], cache_dir: Path | None) -> dict[str, Contents]:
        """Hash and readability of each image; only files that changed are read again."""
        return read_contents(self.root, ids, cache_dir, self.file)

    def decode(self, id: str, look: Look) -> NDArray[np.uint8]:
        """One image as uint8 (h, w, c). Raises Unreadable."""
        return decode_image(self.file(id), **look._asdict(), name=f"{self.root}/{id}")


def id_of(path: str) -> str:
    """The id of a path: valid UTF-8 text. `path_of` is the inverse."""
    escaped = path.replace("\\x", "\\x5cx")
    return ODD.sub(lambda odd: f"\\x{ord(odd[0]) - 0xDC00:02x}", escaped)


def path_of(id: str) -> str:
    """The path of an id from `id_of`."""
    if "\\x" not in id:
        return id
    return re.sub(r"\\x(5c|[89a-f][0-9a-f])", lambda odd: _letter(int(odd[1], 16)), id)


def _letter(byte: int) -> str:
    return "\\" if byte == 0x5C else chr(0xDC00 + byte)


def root_folder(root: str | None, *, name: str, hint: str = "") -> Path:
    """The folder of `data.root`. Raises UserError if it is not set or not UTF-8.

    A hint of the form `NAME: words` gives the name of the data set, if it is not that of the
    source.
    """
    if not root:
        asked, colon, words = hint.partition(": ")
        if colon and asked.isidentifier():
            name, hint = asked, words
        raise UserError(f"data={name} needs data.root=FOLDER" + (f": {hint}" if hint else ""))
    folder = Path(root).expanduser().resolve()
    if _is_not_utf8(str(folder)):
        raise UserError(
            f"data.root={printable(str(folder))}: the folder's name is not UTF-8, so records and "
            "tables cannot contain it; rename it, or use a link with another name"
        )
    return folder


def _is_not_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False

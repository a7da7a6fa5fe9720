"""Images that are files under one folder: what the sources made of files share."""

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
    """Image files under a root, known by their path under it.

    A path that is not UTF-8 is written with `\\xNN` for its odd bytes, so that any record, table or
    terminal takes it; `file` gives the file back.
    apart: a folder, perhaps below the root, that is read by itself and not by this source.
    """

    apart: Path | None = None

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def place(self) -> str:
        """The root."""
        return str(self.root)

    def prepare(self) -> None:
        """Nothing has to be made."""

    def file(self, id: str) -> Path:
        """The file of an image."""
        return self.root / path_of(id)

    def is_apart(self, folder: str) -> bool:
        """Whether a folder, by its path under the root, is the one that is read by itself."""
        return self.apart is not None and (self.root / folder).resolve() == self.apart

    def contents(self, ids: Sequence[str], cache_dir: Path | None) -> dict[str, Contents]:
        """Hash and readability of each image; only files that changed are read again."""
        return read_contents(self.root, ids, cache_dir, self.file)

    def decode(self, id: str, look: Look) -> NDArray[np.uint8]:
        """One image as uint8 (h, w, c). Raises Unreadable."""
        return decode_image(self.file(id), **look._asdict(), name=f"{self.root}/{id}")


def id_of(path: str) -> str:
    """A path as text that can be written anywhere; `path_of` is the way back."""
    escaped = path.replace("\\x", "\\x5cx")
    return ODD.sub(lambda odd: f"\\x{ord(odd[0]) - 0xDC00:02x}", escaped)


def path_of(id: str) -> str:
    """The path that `id_of` made an id of."""
    if "\\x" not in id:
        return id
    return re.sub(r"\\x(5c|[89a-f][0-9a-f])", lambda odd: _letter(int(odd[1], 16)), id)


def _letter(byte: int) -> str:
    return "\\" if byte == 0x5C else chr(0xDC00 + byte)


def root_folder(root: str | None, *, name: str, hint: str = "") -> Path:
    """The folder that `data.root` names. Raises UserError when it names none.

    A hint that is `NAME: words` says which data set was asked for, where that is not the source.
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
            "tables cannot hold it; rename it, or give a link to it with another name"
        )
    return folder


def _is_not_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False

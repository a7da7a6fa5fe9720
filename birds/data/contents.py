"""The hash and readability of each image file, remembered with its size and modification time.

The index is in the cache folder, one file per data root, so a second start reads no image. A
changed file has another size or time; it is read again and changes the digest of the data set.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from birds.core.store import write_text
from birds.data.decode import Look, Unreadable, decode

VERSION = 2
LOOK = Look(32)  # the look for testing whether an image can be decoded


class Contents(NamedTuple):
    """One image when it was last read: file size in bytes, time in ns, sha256 (16 hex digits), and
    the decoder's error ("" if there was none).

    `scaled` says how grey levels deeper than 8 bits are scaled to 8 bits ("" if they are not).
    Width, height and mode are those of the file.
    """

    size: int
    mtime_ns: int
    sha: str
    error: str = ""
    scaled: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""


def read_contents(
    root: Path, ids: Sequence[str], cache_dir: Path | None, file_of: Callable[[str], Path]
) -> dict[str, Contents]:
    """The contents of every image; only files that changed since the last call are read.

    Args:
        root: the folder of the data set; the index is named after it.
        ids: the images.
        cache_dir: the folder of the index; None keeps no index.
        file_of: returns the file of an image.
    """
    place = _hash(os.fsencode(root.resolve()))[:12]
    index = cache_dir / f"index-{place}.json" if cache_dir else None
    known = _read_index(index) if index else {}
    stale = [name for name in ids if known.get(name, ())[:2] != _stamp(file_of(name))]
    if stale:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            read = pool.map(lambda name: contents_of(file_of(name)), stale)
            known |= zip(stale, read, strict=True)
        if index:
            index.parent.mkdir(parents=True, exist_ok=True)
            write_text(index, json.dumps({"version": VERSION, "files": known}))
    return {name: known[name] for name in ids}


def contents_of(path: Path) -> Contents:
    """Read one file: its hash, and the decoder's error (empty if it can be decoded)."""
    size, mtime_ns = _stamp(path)
    try:
        data = path.read_bytes()
    except OSError as complaint:  # a link to nothing, a folder called x.jpg, no permission
        return Contents(size, mtime_ns, "", complaint.strerror or type(complaint).__name__)
    sha = _hash(data)[:16]
    try:
        seen = decode(data, LOOK)
    except Unreadable as complaint:
        return Contents(size, mtime_ns, sha, complaint.reason)
    return Contents(
        size, mtime_ns, sha, "", seen.scaled, width=seen.width, height=seen.height, mode=seen.mode
    )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time in ns of a file; (-1, -1) if it does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _read_index(file: Path) -> dict[str, Contents]:
    try:
        saved = json.loads(file.read_text())
        if saved["version"] != VERSION:
            return {}
        return {path: Contents(*row) for path, row in saved["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}

"""What each file holds: its hash and whether it can be read, remembered by (size, modification
time).

The index lies in the cache folder, one file per data root, so a second start reads no photo. A file
that changed has another size or time, is read again, and gives the data set another digest.
"""

import hashlib
import io
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from birds.core.store import write_text

VERSION = 1


class Contents(NamedTuple):
    """One file as it was when last read: size in bytes, time in ns, sha256 (16 hex), and why it
    cannot be decoded.
    """

    size: int
    mtime_ns: int
    sha: str
    error: str


def read_contents(root: Path, paths: Sequence[str], cache_dir: Path) -> dict[str, Contents]:
    """The contents of every path under `root`; only files that changed since the last call are
    read.
    """
    index_file = (
        cache_dir / f"index-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]}.json"
    )
    known = _read_index(index_file)
    stale = [path for path in paths if known.get(path, ())[:2] != _stamp(f"{root}/{path}")]
    if stale:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            known |= zip(stale, pool.map(lambda path: contents_of(root / path), stale), strict=True)
        cache_dir.mkdir(parents=True, exist_ok=True)
        write_text(index_file, json.dumps({"version": VERSION, "files": known}))
    return {path: known[path] for path in paths}


def contents_of(path: Path) -> Contents:
    """Read one file: its hash, and the decoder's complaint (empty when it decodes)."""
    size, mtime_ns = _stamp(path)
    try:
        data = path.read_bytes()
    except OSError as complaint:  # a link to nothing, a folder called x.jpg, no permission
        return Contents(size, mtime_ns, "", complaint.strerror or type(complaint).__name__)
    error = ""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (32, 32))
            image.load()
    except (
        Exception
    ) as complaint:  # Pillow raises anything from OSError to struct.error on a broken file
        error = str(complaint).replace(repr(complaint), "")[:80] or type(complaint).__name__
        if "BytesIO" in error:
            error = "not an image"
    return Contents(size, mtime_ns, hashlib.sha256(data).hexdigest()[:16], error)


def _stamp(path: Path | str) -> tuple[int, int]:
    """Size in bytes and time in ns of a file; (-1, -1) when there is none behind the name."""
    try:
        stat = os.stat(path)
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def _read_index(index_file: Path) -> dict[str, Contents]:
    try:
        saved = json.loads(index_file.read_text())
        if saved["version"] != VERSION:
            return {}
        return {path: Contents(*row) for path, row in saved["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}

"""Files that a choice names: the key holds their SHA-256, this process knows where they lie.

A run's spec must not hold a path, for the same weights elsewhere are the same choice. So a path
becomes `sha256:<hex>` when a configuration is read, `Runtime.files` carries the place to the
processes that do the work, and whoever opens the file asks here.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from birds.core.errors import UserError

PREFIX = "sha256:"
_PLACES: dict[str, Path] = {}


def identity_of(file: Path) -> str:
    """`sha256:<hex>` of a file's bytes; its place is remembered. Raises UserError without one."""
    try:
        stat = file.stat()
        digest = _digest(str(file.resolve()), stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    _PLACES[digest] = file.resolve()
    return digest


@lru_cache(maxsize=64)
def _digest(file: str, size: int, mtime_ns: int) -> str:
    with open(file, "rb") as opened:
        return PREFIX + hashlib.file_digest(opened, "sha256").hexdigest()


def remember_files(places: Mapping[str, Path]) -> None:
    """Take over where files lie, from the process that read the configuration."""
    _PLACES.update(places)


def known_files() -> dict[str, Path]:
    """Where every file lies that a configuration has named in this process."""
    return dict(_PLACES)


def find_file(identity: str) -> Path:
    """Where the file of this identity lies. Raises UserError when it is gone or has changed."""
    file = _PLACES.get(identity)
    if file is None or not file.is_file():
        raise UserError(
            f"the file {identity[:19]}… that this run was asked with is no longer at "
            f"{file or 'any known place'}; ask for the run again"
        )
    if identity_of(file) != identity:
        raise UserError(f"{file} changed since this run was asked for; ask again")
    return file

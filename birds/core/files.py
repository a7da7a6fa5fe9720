"""Files that a choice names, such as weights: the key holds their SHA-256, this module their paths.

A spec must not contain a path, because the same weights at another path are the same choice. So a
path becomes `sha256:<hex>` when a configuration is read. `Runtime.files` passes the path on to the
processes that train, and code that opens the file calls `find_file`.

A library's hub gives a file's SHA-256, or the beginning of it, before the download. So a run has
its key without a download; `fetch_files` downloads what is still missing.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from birds.core.errors import UserError

PREFIX = "sha256:"
NO_COMMERCE = re.compile(r"(^|[-_. ])nc([-_. ]|$)|non-?commercial|research", re.IGNORECASE)
_PLACES: dict[str, Path] = {}
_TO_FETCH: dict[str, Callable[[], Path]] = {}
_ORIGINS: dict[str, dict[str, str]] = {}


def identity_of(file: Path) -> str:
    """`sha256:<hex>` of a file's bytes; remembers its path. Raises UserError if unreadable."""
    try:
        stat = file.stat()
        digest = _digest(str(file.resolve()), stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    _PLACES[digest] = file.absolute()
    return digest


@lru_cache(maxsize=64)
def _digest(file: str, size: int, mtime_ns: int) -> str:
    with open(file, "rb") as opened:
        return PREFIX + hashlib.file_digest(opened, "sha256").hexdigest()


def remember_files(places: Mapping[str, Path]) -> None:
    """Remember the paths of files, as found by the process that read the configuration."""
    _PLACES.update(places)


def remember_place(identity: str, file: Path) -> None:
    """Remember the path of a file whose identity is only the beginning of its SHA-256."""
    _PLACES[identity] = file.absolute()


def fetch_later(identity: str, fetch: Callable[[], Path]) -> None:
    """Remember how to download the file of this identity, unless its path is known."""
    if identity not in _PLACES:
        _TO_FETCH[identity] = fetch


def fetch_files() -> None:
    """Download every named file that is not on this machine. Raises the errors of the download."""
    for identity, fetch in list(_TO_FETCH.items()):
        _PLACES[identity] = fetch().absolute()
        del _TO_FETCH[identity]


def remember_origin(identity: str, origin: Mapping[str, str]) -> None:
    """Remember facts about a file, such as its licence."""
    _ORIGINS[identity] = dict(origin)


def known_origins() -> dict[str, dict[str, str]]:
    """The facts about every file that a configuration has named in this process."""
    return {identity: dict(origin) for identity, origin in _ORIGINS.items()}


def forbids_commerce(licence: str) -> bool:
    """Whether a licence's name says that commercial use is not allowed."""
    return NO_COMMERCE.search(licence) is not None


def known_files() -> dict[str, Path]:
    """The path of every file that a configuration has named in this process."""
    return dict(_PLACES)


def find_file(identity: str) -> Path:
    """The path of the file with this identity. Raises UserError if it is missing or has changed."""
    file = _PLACES.get(identity)
    if file is None or not file.is_file():
        raise UserError(
            f"the file {identity[:19]}… of this run is no longer at "
            f"{file or 'any known place'}; start the run again"
        )
    if not identity_of(file).startswith(identity):
        raise UserError(f"{file} has changed since this run was planned; start the run again")
    return file

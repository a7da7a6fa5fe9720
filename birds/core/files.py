"""Files that a choice names: the key holds their SHA-256, this process knows where they lie.

A run's spec must not hold a path, for the same weights elsewhere are the same choice. So a path
becomes `sha256:<hex>` when a configuration is read, `Runtime.files` carries the place to the
processes that do the work, and whoever opens the file asks here.

A library's hub says a file's SHA-256, or the beginning of it, before the file is fetched. So a
configuration has its key without a download; `fetch_files` does what is still to be done.
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
    """`sha256:<hex>` of a file's bytes; its place is remembered. Raises UserError without one."""
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
    """Take over where files lie, from the process that read the configuration."""
    _PLACES.update(places)


def remember_place(identity: str, file: Path) -> None:
    """Remember where the file of an identity lies that is only the beginning of its SHA-256."""
    _PLACES[identity] = file.absolute()


def fetch_later(identity: str, fetch: Callable[[], Path]) -> None:
    """Remember how the file of this identity is fetched, unless its place is known."""
    if identity not in _PLACES:
        _TO_FETCH[identity] = fetch


def fetch_files() -> None:
    """Fetch every file that a configuration named and that is not on this machine. Raises what
    fetching raises.
    """
    for identity, fetch in list(_TO_FETCH.items()):
        _PLACES[identity] = fetch().absolute()
        del _TO_FETCH[identity]


def remember_origin(identity: str, origin: Mapping[str, str]) -> None:
    """Remember what is known of a file beside its contents, such as its licence."""
    _ORIGINS[identity] = dict(origin)


def known_origins() -> dict[str, dict[str, str]]:
    """What is known of every file that a configuration has named in this process."""
    return {identity: dict(origin) for identity, origin in _ORIGINS.items()}


def forbids_commerce(licence: str) -> bool:
    """Whether a licence's name says that commercial use is not allowed."""
    return NO_COMMERCE.search(licence) is not None


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
    if not identity_of(file).startswith(identity):
        raise UserError(f"{file} changed since this run was asked for; ask again")
    return file

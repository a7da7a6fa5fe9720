"""Advisory locks on files: the kernel releases them when a process dies, however it dies."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from birds.core.errors import UserError


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[IO[bytes]]:
    """Hold the advisory lock on `path`. If another process holds it, call `waiting` and wait.

    Yields the open file: a child process that inherits it also holds the lock until it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if not _lock(file, path):
            waiting()
            _lock(file, path, wait=True)
        yield file


@contextlib.contextmanager
def claimed(path: Path, refusal: str) -> Iterator[None]:
    """Hold the advisory lock on `path`. Raises UserError(refusal) if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if not _lock(file, path):
            raise UserError(refusal)
        yield


@contextlib.contextmanager
def joined(path: Path) -> Iterator[None]:
    """Hold the advisory lock on `path` if it is free; otherwise continue without it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        _lock(file, path)
        yield


def _lock(file: IO[bytes], path: Path, wait: bool = False) -> bool:
    """Lock an open file; returns False if another process holds the lock.

    Raises UserError if the file system has no locks: two processes could then work on one run.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(
            f"{path.parent} is on a file system without locks ({error.strerror}): choose "
            "runs_dir= (and cache_dir=) on another file system, such as a local disk"
        ) from None
    return True


def is_locked(path: Path) -> bool:
    """Whether a process holds the advisory lock on `path`."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False

"""One class owns every path of a run: `runs/<key>/`. Nothing is ever half-written under its final name.

A run is claimed by an advisory lock that the kernel releases when the process dies, and by an attempt id written into
the folder: a process that lost its claim (a lost node that came back) is refused when it tries to write.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from birds.record import Record, read_record
from birds.spec import Refused, Run

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Orphaned(RuntimeError):
    """Another attempt has taken this run over: this process must not write any more."""


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` on a temporary file beside `path`, then rename it into place: readers see all of it or nothing.

    Raises Refused when the disk is full, OSError otherwise; `path` is then as it was.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with draft.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            raise Refused(disk_full(path)) from None
        raise


def disk_full(path: Path) -> str:
    """What to say when `path` could not be written for want of room."""
    return f"disk full while writing {path}: free some room and ask again; what was finished is kept"


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    write_atomically(path, lambda file: file.write(text.encode()))


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the advisory lock on `path`; calls `waiting` once if somebody else holds it, then waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class RunFolder:
    """Every path of one run, the claim on it, and its last act."""

    def __init__(self, runs_dir: Path, spec: Run | str) -> None:
        self.key = spec if isinstance(spec, str) else spec.key
        self.path = runs_dir / self.key
        self.spec_file = self.path / "spec.json"
        self.record_file = self.path / "record.json"
        self.failure_file = self.path / "failure.txt"
        self.progress_file = self.path / "progress.json"
        self.curves_file = self.path / "curves.csv"
        self.predictions_file = self.path / "predictions.npz"
        self.pictures = self.path / "pictures"
        self.tracking = self.path / "tracking"
        self.jobs = self.path / "jobs"
        self.models = self.path / "models"
        self._attempt_file = self.path / "attempt.json"
        self._attempt: str | None = None

    def checkpoint(self, which: str) -> Path:
        """Where the `best` or the `last` checkpoint lies."""
        return self.path / "checkpoints" / f"{which}.ckpt"

    def record(self) -> Record | None:
        """The finished run's record; None when there is none or it was cut short. Refused: of another recipe."""
        return read_record(self.record_file, self.key)

    def failure(self) -> str | None:
        """Why the last attempt failed, with its traceback; None when it did not."""
        with contextlib.suppress(OSError):
            return self.failure_file.read_text()
        return None

    def progress(self) -> dict[str, Any]:
        """The last word of the run about itself: state, epoch, epochs, loss, seconds_left. Empty before the first."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(self.progress_file.read_text()))
        return {}

    @contextlib.contextmanager
    def claimed(self, spec: Run, waiting: Callable[[str], object] = lambda who: None) -> Iterator[None]:
        """Hold this run for one attempt: waits while another process works on it. Keeps `failure.txt` true."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Refused(f"cannot write the runs folder {self.path.parent}: {error.strerror}; set runs_dir=") from None
        with locked(self.path / "lock", lambda: waiting(self._holder())):
            if self.record() is None:
                self._begin_attempt(spec)
            yield

    def _begin_attempt(self, spec: Run) -> None:
        self._attempt = uuid.uuid4().hex[:12]
        attempt = {"id": self._attempt, "host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
        write_text(self._attempt_file, json.dumps(attempt))
        write_text(self.spec_file, spec.model_dump_json(indent=1))
        self.failure_file.unlink(missing_ok=True)

    def _holder(self) -> str:
        with contextlib.suppress(OSError, ValueError, KeyError):
            attempt = json.loads(self._attempt_file.read_text())
            return f"process {attempt['pid']} on {attempt['host']}"
        return "another process"

    def assert_mine(self) -> None:
        """Raise Orphaned unless this process's attempt is the one in the folder."""
        attempt = json.loads(self._attempt_file.read_text())["id"]
        if attempt != self._attempt:
            raise Orphaned(f"run {self.key} was taken over by attempt {attempt}")

    def report(self, **progress: Any) -> None:
        """Say how far the run is, for whoever watches. A full disk does not end a run here."""
        with contextlib.suppress(OSError, Refused):
            write_text(self.progress_file, json.dumps(progress | {"time": time.time()}))

    def fail(self, text: str) -> None:
        """Leave the reason of a failure in the folder."""
        with contextlib.suppress(OSError, Refused):
            write_text(self.failure_file, text)

    def finish(self, record: Record) -> Record:
        """The run's last act: its record, by atomic rename."""
        self.assert_mine()
        write_text(self.record_file, record.to_json())
        return record


def find_run(runs_dir: Path, name: str) -> RunFolder:
    """The run folder of a key, the beginning of a key, or a path. Raises Refused when it is not exactly one."""
    path = Path(name)
    if (path / "spec.json").exists():
        return RunFolder(path.resolve().parent, path.resolve().name)
    found = sorted(p.parent.name for p in runs_dir.glob(f"{name}*/spec.json"))
    if len(found) != 1:
        many = f"{len(found)} runs start so: {', '.join(found[:4])}" if found else f"none in {runs_dir}"
        raise Refused(f"no single run {name!r} ({many}); `python train.py ... dry_run=true` prints keys")
    return RunFolder(runs_dir, found[0])

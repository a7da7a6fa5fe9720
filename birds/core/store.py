"""One class owns every path of a run: `runs/<key>/`. Nothing is ever half-written under its final
name.

A run is claimed by an advisory lock that the kernel releases when the process dies, and by an
attempt id written into the folder: a process that lost its claim (a lost node that came back) is
refused when it tries to write.
"""

import contextlib
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from birds.core.errors import FULL as FULL
from birds.core.record import Record, read_record
from birds.core.spec import RunSpec, UserError
from birds.core.triage import Failure, Kind


class Orphaned(RuntimeError):
    """Another attempt has taken this run over: this process must not write any more."""


class Stopped(RuntimeError):
    """The run was asked to stop and did, between two epochs: asked again, it goes on from there."""


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` on a temporary file beside `path`, then rename it into place: readers see all of
    it or nothing.

    Raises UserError when the disk is full, OSError otherwise; `path` is then as it was.
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
            raise UserError(disk_full(path)) from None
        raise


def disk_full(path: Path) -> str:
    """What to say when `path` could not be written for want of room."""
    return (
        f"disk full while writing {path}: free some room and ask again; what was finished is kept"
    )


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8; what is no text in a name, as its escape."""
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")))


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[IO[bytes]]:
    """Hold the advisory lock on `path`; calls `waiting` once if somebody else holds it, then waits
    for it.

    Yields the open file: a child process that inherits it holds the lock, too, until it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if not _lock(file, path):
            waiting()
            _lock(file, path, wait=True)
        yield file


@contextlib.contextmanager
def claimed(path: Path, refusal: str) -> Iterator[None]:
    """Hold the advisory lock on `path`. Raises UserError(refusal) when somebody else holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if not _lock(file, path):
            raise UserError(refusal)
        yield


@contextlib.contextmanager
def joined(path: Path) -> Iterator[None]:
    """Hold the advisory lock on `path` if nobody else does; go on without it otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        _lock(file, path)
        yield


def _lock(file: IO[bytes], path: Path, wait: bool = False) -> bool:
    """Lock an open file; False when somebody else holds it. Raises UserError where the file system
    has no locks: without them two processes could work on one run.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(
            f"{path.parent} lies on a file system without locks ({error.strerror}): choose "
            "runs_dir= (and cache_dir=) on another, such as a disk of this machine"
        ) from None
    return True


def is_locked(path: Path) -> bool:
    """Whether somebody holds the advisory lock on `path`."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class RunFolder:
    """Every path of one run, the claim on it, and its last act."""

    def __init__(self, runs_dir: Path, spec: RunSpec | str) -> None:
        self.key = spec if isinstance(spec, str) else spec.key
        self.path = runs_dir / self.key
        self.spec_file = self.path / "spec.json"
        self.record_file = self.path / "record.json"
        self.failure_file = self.path / "failure.txt"
        self.progress_file = self.path / "progress.json"
        self.curves_file = self.path / "curves.csv"
        self.predictions_file = self.path / "predictions.npz"
        self.features_file = self.path / "features.npz"
        self.pictures = self.path / "pictures"
        self.tracking = self.path / "tracking"
        self.jobs = self.path / "jobs"
        self.models = self.path / "models"
        self.latent = self.path / "latent"
        self.samples = self.path / "samples"
        self.lock_file = self.path / "lock"
        self.attempt_file = self.path / "attempt.json"
        self._accumulate_file = self.path / "accumulate"
        self._attempt: str | None = None

    def checkpoint(self, which: str) -> Path:
        """Where the `best` or the `last` checkpoint lies."""
        return self.path / "checkpoints" / f"{which}.ckpt"

    def record(self) -> Record | None:
        """The finished run's record; None when there is none or it was cut short. UserError: of
        another recipe.
        """
        return read_record(self.record_file, self.key)

    def failure(self) -> str | None:
        """Why the last attempt failed, with its traceback; None when it did not."""
        with contextlib.suppress(OSError):
            return self.failure_file.read_text()
        return None

    def log(self) -> Path | None:
        """The newest log of the run, or None before its first start as a job."""
        logs = [p for p in self.jobs.glob("*") if p.suffix in (".out", ".log") and p.is_file()]
        return max(logs, key=lambda path: path.stat().st_mtime, default=None)

    @property
    def accumulate(self) -> int:
        """In how many parts a batch is worked on, 1 unless the run was out of memory before."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._accumulate_file.read_text())
        return 1

    def progress(self) -> dict[str, Any]:
        """The last word of the run about itself: state, epoch, epochs, loss, seconds_left. Empty
        before the first.
        """
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(self.progress_file.read_text()))
        return {}

    @contextlib.contextmanager
    def claimed(
        self, spec: RunSpec, waiting: Callable[[str], object] = lambda who: None
    ) -> Iterator[None]:
        """Hold this run for one attempt: waits while another process works on it. Keeps
        `failure.txt` true.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot write the runs folder {self.path.parent}: {error.strerror}; set runs_dir="
            ) from None
        with locked(self.lock_file, lambda: self._wait_for_holder(waiting)):
            if self.record() is None:
                self._begin_attempt()
                write_text(self.spec_file, spec.model_dump_json(indent=1))
                self.failure_file.unlink(missing_ok=True)
            yield

    def _begin_attempt(self) -> None:
        self._attempt = uuid.uuid4().hex[:12]
        attempt = {
            "id": self._attempt,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.time(),
        }
        write_text(self.attempt_file, json.dumps(attempt | _slurm_start()))

    def attempt(self) -> dict[str, Any]:
        """Who worked on the run last: id, host, pid, started, under SLURM job and restart. Empty
        before the first.
        """
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(self.attempt_file.read_text()))
        return {}

    def _wait_for_holder(self, waiting: Callable[[str], object]) -> None:
        """Say who holds the lock. If it is an earlier start of this very job, SLURM took it for
        dead: take over.
        """
        holder, own = self.attempt(), _slurm_start()
        if own and holder.get("job") == own["job"] and holder["restart"] < own["restart"]:
            self._begin_attempt()  # the orphan finds it at the end of its epoch, ends and frees the lock
        waiting(
            f"process {holder['pid']} on {holder['host']}" if "pid" in holder else "another process"
        )

    def assert_mine(self) -> None:
        """Raise Orphaned unless this process's attempt is the one in the folder."""
        attempt = self.attempt().get("id")
        if attempt != self._attempt:
            raise Orphaned(f"run {self.key} was taken over by attempt {attempt}")

    def report(self, **progress: Any) -> None:
        """Say how far the run is, for whoever watches. A full disk does not end a run here."""
        with contextlib.suppress(OSError, UserError):
            write_text(self.progress_file, json.dumps(progress | {"time": time.time()}))

    def fail(self, failure: Failure) -> None:
        """Leave the reason of a failure in the folder; for want of memory, the next attempt halves
        its batches.
        """
        with contextlib.suppress(OSError, UserError):
            write_text(self.failure_file, str(failure))
            if failure.kind is Kind.MEMORY:
                write_text(self._accumulate_file, str(2 * self.accumulate))

    def finish(self, record: Record) -> Record:
        """The run's last act: its record, by atomic rename."""
        self.assert_mine()
        write_text(self.record_file, record.to_json())
        return record


def _slurm_start() -> dict[str, Any]:
    """Which start of which SLURM job this process is; empty outside of SLURM."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    if job is None:
        return {}
    index = os.environ.get("SLURM_ARRAY_TASK_ID")
    restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    return {"job": f"{job}_{index}" if index else job, "restart": restart}


def find_run(runs_dir: Path, name: str) -> RunFolder:
    """The run folder of a key, the beginning of a key, or a path. Raises UserError when it is not
    exactly one.
    """
    path = Path(name)
    if (path / "spec.json").exists():
        return RunFolder(path.resolve().parent, path.resolve().name)
    found = sorted(
        spec.parent.name
        for spec in runs_dir.glob("*/spec.json")
        if spec.parent.name.startswith(name)
    )
    if len(found) == 1:
        return RunFolder(runs_dir, found[0])
    many = f"none in {runs_dir}"
    if found:
        many = f"{len(found)} runs start so: {', '.join(found[:4])}"
    if path.is_file() or path.suffix:
        many = "it names a file, and the run's key goes first"
    raise UserError(
        f"no single run {name!r} ({many}); `python train.py ... dry_run=true` prints keys"
    )

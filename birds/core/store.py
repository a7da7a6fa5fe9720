"""Paths, locks and atomic writes of a run folder, `runs/<key>/`.

One class knows every path of a run. No file is ever incomplete under its final name. A process
claims a run with an advisory lock, which the kernel releases when the process dies, and with an
attempt id in the folder. A process that lost its claim (on a lost node that came back) gets an
error when it tries to write.
"""

import contextlib
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from birds.core.errors import FULL as FULL
from birds.core.locks import locked
from birds.core.record import Record, read_record
from birds.core.spec import RunSpec, UserError
from birds.core.triage import Failure, Kind


class Orphaned(RuntimeError):
    """Another attempt owns this run now; this process must not write any more."""


class Stopped(RuntimeError):
    """The run stopped between two epochs on request; the same command continues from there."""


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` on a temporary file next to `path`, then rename it, so that readers see the
    complete file or nothing.

    Raises UserError when the disk is full, and OSError for other problems; `path` is then
    unchanged.
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
    """The message for a full disk while writing `path`."""
    return (
        f"disk full while writing {path}: free some disk space and run the same command again; "
        "finished runs are kept"
    )


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8; characters that UTF-8 lacks become escapes."""
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")))


class RunFolder:
    """The paths of one run, the claim on it, and the writing of its record."""

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
        self.thumbnails_file = self.path / "thumbnails.npz"
        self.pictures = self.path / "pictures"
        self.tracking = self.path / "tracking"
        self.jobs = self.path / "jobs"
        self.models = self.path / "models"
        self.latent = self.path / "latent"
        self.samples = self.path / "samples"
        self.study = self.path / "study"
        self.lock_file = self.path / "lock"
        self.attempt_file = self.path / "attempt.json"
        self._accumulate_file = self.path / "accumulate"
        self._attempt: str | None = None

    def checkpoint(self, which: str) -> Path:
        """The path of the `best` or the `last` checkpoint."""
        return self.path / "checkpoints" / f"{which}.ckpt"

    def record(self) -> Record | None:
        """The record; None if missing or incomplete. Raises UserError for one of another recipe."""
        return read_record(self.record_file, self.key)

    def failure(self) -> str | None:
        """Why the last attempt failed, with its traceback; None if it did not fail."""
        with contextlib.suppress(OSError):
            return self.failure_file.read_text()
        return None

    def log(self) -> Path | None:
        """The newest log of the run, or None before its first start as a job."""
        logs = [p for p in self.jobs.glob("*") if p.suffix in (".out", ".log") and p.is_file()]
        return max(logs, key=lambda path: path.stat().st_mtime, default=None)

    @property
    def accumulate(self) -> int:
        """The number of parts of a batch; 1 unless the run has run out of memory before."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._accumulate_file.read_text())
        return 1

    def progress(self) -> dict[str, Any]:
        """The last progress report (state, epoch, epochs, loss, seconds_left), or an empty dict."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(self.progress_file.read_text()))
        return {}

    @contextlib.contextmanager
    def claimed(
        self, spec: RunSpec, waiting: Callable[[str], object] = lambda who: None
    ) -> Iterator[None]:
        """Claim this run for one attempt; waits while another process works on it.

        A new attempt removes the `failure.txt` of the last one.
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
        """The last attempt (id, host, pid, started; with SLURM job, restart), or an empty dict."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads(self.attempt_file.read_text()))
        return {}

    def _wait_for_holder(self, waiting: Callable[[str], object]) -> None:
        """Report who holds the lock. If it is an earlier start of the same job, which SLURM
        believes dead, take the run over.
        """
        holder, own = self.attempt(), _slurm_start()
        if own and holder.get("job") == own["job"] and holder["restart"] < own["restart"]:
            self._begin_attempt()  # the other attempt sees this and frees the lock
        waiting(
            f"process {holder['pid']} on {holder['host']}" if "pid" in holder else "another process"
        )

    def assert_mine(self) -> None:
        """Raise Orphaned unless the folder holds the attempt of this process."""
        attempt = self.attempt().get("id")
        if attempt != self._attempt:
            raise Orphaned(f"run {self.key} was taken over by attempt {attempt}")

    def report(self, **progress: Any) -> None:
        """Write the progress of the run. A full disk does not stop the run here."""
        with contextlib.suppress(OSError, UserError):
            write_text(self.progress_file, json.dumps(progress | {"time": time.time()}))

    def fail(self, failure: Failure) -> None:
        """Write the reason of a failure; after running out of memory, the next attempt uses half
        the batch.
        """
        with contextlib.suppress(OSError, UserError):
            write_text(self.failure_file, str(failure))
            if failure.kind is Kind.MEMORY:
                write_text(self._accumulate_file, str(2 * self.accumulate))

    def finish(self, record: Record) -> Record:
        """Write the record, which makes the run finished."""
        self.assert_mine()
        write_text(self.record_file, record.to_json())
        return record


def _slurm_start() -> dict[str, Any]:
    """The SLURM job of this process and its restart count; empty outside SLURM."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    if job is None:
        return {}
    index = os.environ.get("SLURM_ARRAY_TASK_ID")
    restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    return {"job": f"{job}_{index}" if index else job, "restart": restart}


def find_run(runs_dir: Path, name: str) -> RunFolder:
    """The run folder for a key, the beginning of a key, or a path.

    Raises UserError unless exactly one run matches.
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
        many = f"{len(found)} runs start with it: {', '.join(found[:4])}"
    if path.is_file() or path.suffix:
        many = "this is a file; the run's key comes first"
    raise UserError(
        f"no single run {name!r} ({many}); `python train.py ... dry_run=true` prints keys"
    )

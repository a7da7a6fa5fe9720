"""The program of a job: trains its runs, each in a process forked from one that has imported
everything.

    python -m birds.launch.slurm.worker runs/sweeps/NAME/submissions/TOKEN.json

Imports happen once, and a run that dies or runs out of memory does not affect the other runs. The
job's exit status tells SLURM whether all runs are finished. On USR2 (SLURM's warning before the
time limit or a preemption) and on SIGTERM the runs stop between two epochs and the job is requeued,
unless it was cancelled.
"""

import dataclasses
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

from birds.core.spec import UserError, read_spec
from birds.core.state import is_finished, settle_death, unfinished_need
from birds.core.store import Orphaned, RunFolder, Stopped, write_text
from birds.core.triage import Failure, Kind, kind_of, oom_kills
from birds.launch.slurm import client
from birds.launch.slurm.submissions import Submission, held_file, read_submissions

POLL_SECONDS = 0.02
STOPPED, ORPHANED = (
    75,
    76,
)  # EX_TEMPFAIL: the run continues after a requeue; another attempt owns the run
MARGIN_SECONDS = 2  # between the end of this job and SLURM's SIGKILL
LATE = 0.75  # share of the time limit; a warning after it means the limit, before it preemption


@dataclasses.dataclass
class Job:
    """One job: its waiting runs, and its child processes."""

    submission: Submission
    index: int
    waiting: list[str] = dataclasses.field(default_factory=list)
    children: dict[int, str] = dataclasses.field(default_factory=dict)
    failed: set[str] = dataclasses.field(default_factory=set)
    unfinished: set[str] = dataclasses.field(default_factory=set)
    warned_by: signal.Signals | None = None
    started: float = dataclasses.field(default_factory=time.monotonic)
    oom_kills: int = dataclasses.field(default_factory=oom_kills)

    def folder(self, key: str) -> RunFolder:
        """The folder of one of the job's runs."""
        return RunFolder(self.submission.runtime.runs_dir, key)

    def work_off(self, work: Callable[..., object]) -> int:
        """Do all runs. Returns the exit status: 0 when all are finished, 1 when one failed, 75 when
        the job is requeued.
        """
        self.waiting = [
            key for key in self.submission.jobs[self.index] if not is_finished(self.folder(key))
        ]
        while self.waiting or self.children:
            if self.warned_by is not None:
                self._stop()
                break
            while self.waiting and len(self.children) < self.submission.resources.side_by_side:
                self._fork(self.waiting.pop(0), work)
            self._reap()
            time.sleep(POLL_SECONDS)
        if self.unfinished:
            self._come_back()
        return 1 if self.failed else STOPPED if self.unfinished else 0

    def listen(self) -> Self:
        """Handle SLURM's warning signals from now on; before, they would end the process."""
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._warn)
        return self

    def _warn(self, number: int, frame: FrameType | None) -> None:
        self.warned_by = self.warned_by or signal.Signals(number)

    def _fork(self, key: str, work: Callable[..., object]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = _do(self.folder(key), self.submission, work)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        self.children[child] = key
        print(f"{key} started as process {child}", flush=True)

    def _reap(self) -> None:
        """Record the child processes that have ended."""
        for child, key in list(self.children.items()):
            ended, word = os.waitpid(child, os.WNOHANG)
            if not ended:
                continue
            del self.children[child]
            status = os.waitstatus_to_exitcode(word)
            print(f"{key} ended with status {status}", flush=True)
            if status == ORPHANED:
                self.failed.add(key)
            elif status == STOPPED or (self.warned_by and status):
                self.unfinished.add(key)
            elif status:
                self._settle_failure(key, status)

    def _settle_failure(self, key: str, status: int) -> None:
        folder = self.folder(key)
        spec = read_spec(folder.spec_file.read_text())
        if unfinished_need(spec, self.submission.runtime.runs_dir) is not None:
            kind = kind_of(folder.failure() or "")  # the run was not started, so it did not fail
        else:
            kind = settle_death(folder, status, self.oom_kills)
        batch = spec.training.batch if spec.training else 1
        if kind is Kind.MEMORY and folder.accumulate <= batch // 2:
            print(
                f"{key} ran out of memory; it restarts with batches in {folder.accumulate} parts",
                flush=True,
            )
            self.waiting.insert(0, key)
            return
        self.failed.add(key)
        self._tell_the_sweep(key, kind)

    def _tell_the_sweep(self, key: str, kind: Kind | None) -> None:
        """Stop the sweep if requested: after any failure (fail_fast), or after a bug in the first
        run (canary).
        """
        own = read_submissions(self.submission.runtime.runs_dir, self.submission.sweep)
        arrays = [str(s.job_id) for s in own if s.job_id is not None and s.ended is None]
        if self.submission.fail_fast:
            for array in arrays:
                _try("scancel", "-Q", "--state=PENDING", array)
        elif self.submission.canary and kind is Kind.BUG and not self._any_finished(own):
            held = held_file(self.submission.runtime.runs_dir, self.submission.sweep)
            write_text(
                held,
                f"{key} was the first run to end and had a bug; fix it, then use birds retry\n",
            )
            for array in arrays:
                _try("scontrol", "hold", array)

    def _any_finished(self, own: list[Submission]) -> bool:
        since = min(s.written for s in own if s.ended is None)
        records = (
            self.folder(key).record_file for s in own for keys in s.jobs.values() for key in keys
        )
        return any(file.exists() and file.stat().st_mtime >= since for file in records)

    def _stop(self) -> None:
        """Let the child processes finish their epoch if there is time, then kill them."""
        print(f"{self.warned_by.name if self.warned_by else ''}: stopping", flush=True)
        for child in self.children:
            os.kill(child, signal.SIGUSR2)
        before_limit, before_kill = (
            self.submission.resources.signal_delay_s,
            self.submission.kill_wait_s,
        )
        notice = before_limit if self.warned_by is signal.SIGUSR2 else before_kill
        deadline = time.monotonic() + max(0, notice - MARGIN_SECONDS)
        while self.children and time.monotonic() < deadline:
            self._reap()
            time.sleep(POLL_SECONDS)
        for child in self.children:
            os.kill(child, signal.SIGKILL)
        for child, key in self.children.items():
            os.waitpid(child, 0)
            self.unfinished.add(key)
        self.unfinished |= set(self.waiting)
        self.children, self.waiting = {}, []

    def _come_back(self) -> None:
        """Requeue the job, unless it was cancelled or reached the time limit too often."""
        if Submission.model_validate_json(self.submission.file.read_text()).cancelled:
            return
        job = _job_name()
        if self.warned_by is signal.SIGTERM and client.state_of(job) not in (
            "RUNNING",
            "PREEMPTED",
        ):
            return  # cancelled by the user, or requeued by SLURM itself
        resources = self.submission.resources
        if time.monotonic() - self.started > LATE * 60 * resources.time - resources.signal_delay_s:
            counter = self.submission.file.with_suffix(f".{self.index}.timeouts")
            timeouts = int(counter.read_text()) + 1 if counter.exists() else 1
            write_text(counter, str(timeouts))
            if timeouts > self.submission.max_requeues:
                self._give_up(timeouts)
                return
        _try("scontrol", "requeue", job)

    def _give_up(self, timeouts: int) -> None:
        for key in self.unfinished:
            reason = (
                f"not finished after {timeouts} jobs of {self.submission.resources.time} minutes"
            )
            self.folder(key).fail(Failure(Kind.TIMEOUT, reason))
        self.failed |= self.unfinished


def _try(*command: str) -> None:
    """Call an optional SLURM command; print its error and continue."""
    try:
        client.ask(*command)
    except UserError as refusal:
        print(refusal, file=sys.stderr, flush=True)


def _do(folder: RunFolder, submission: Submission, work: Callable[..., object]) -> int:
    """In the child process: one run, with its output in its own log. Returns the exit status."""
    stop = threading.Event()
    signal.signal(signal.SIGUSR2, lambda number, frame: stop.set())
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN
    )  # SLURM sends it to all processes of a job; the parent decides
    folder.jobs.mkdir(parents=True, exist_ok=True)
    log = os.open(folder.jobs / f"{_job_name()}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    spec = read_spec(folder.spec_file.read_text())
    needed = unfinished_need(spec, submission.runtime.runs_dir)
    if needed is not None:
        print(f"not started: it needs {needed}, which is not finished", flush=True)
        return 1
    try:
        work(spec, submission.runtime, stop.is_set)
    except (Orphaned, Stopped) as word:
        print(word, flush=True)
        return ORPHANED if isinstance(word, Orphaned) else STOPPED
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _job_name() -> str:
    array, index = (
        os.environ.get("SLURM_ARRAY_JOB_ID", "0"),
        os.environ.get("SLURM_ARRAY_TASK_ID", "0"),
    )
    return f"{array}_{index}"


def main(file: Path) -> int:
    """Do the array's job that SLURM started in this process; returns its exit status."""
    submission = Submission.model_validate_json(file.read_text())
    job = Job(submission, int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))).listen()
    if not os.environ.get("CUDA_VISIBLE_DEVICES"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    module, _, name = submission.work.rpartition(".")
    work: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return job.work_off(work)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""The staged launcher: each distinct pretraining once, then what needs it, side by side on the slots of this machine.

Each run is a process of its own, started through submitit's local executor the moment a slot is free and what it needs
is finished. The truth about a run is its folder, never the process: a run whose process died without a record failed.
"""

from __future__ import annotations

import dataclasses
import glob
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from birds.board import Board, State
from birds.machine import cores
from birds.plan import Planned, describe, how_tracked, plan_run, stages
from birds.refusals import RunsFailed
from birds.spec import Refused, RunSpec, Runtime, read_spec
from birds.store import RunFolder, write_text

POLL_SECONDS = 0.1
FOREVER_MINUTES = 60 * 24 * 365
TAIL_LINES = 6


def work(spec: str, runtime: str) -> None:
    """What a child process does: one run."""
    from birds.run import run

    run(read_spec(spec), Runtime.model_validate_json(runtime))


def launch(compose: Callable[[Sequence[str]], DictConfig], job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
    """Plan every job, run what is not finished, print the table.

    Raises Refused before anything starts, RunsFailed when all is over and some failed.

    Args:
        compose: overrides -> the composed configuration.
        job_overrides: the overrides of each job of the sweep.
    """
    planned = [_planned(compose, overrides) for overrides in job_overrides]
    first = planned[0]
    if first.dry_run:
        print(describe(planned))
        return [_returned(p, None) for p in planned]
    runs = stages(planned)
    write_sweep(first.runtime.runs_dir, first.sweep, planned, job_overrides)
    board = Board(first.runtime.runs_dir, runs)
    _announce(board, first)
    LocalSlots(first.runtime, first.slots).work_off(board)
    _print_failures(board, first)
    _print_table(first)
    if failed := board.count(State.FAILED) + board.count(State.BLOCKED):
        raise RunsFailed(f"{failed} of {len(runs)} runs did not finish; the same command does only those again")
    return [_returned(p, _objective(p)) for p in planned]


def _planned(compose: Callable[[Sequence[str]], DictConfig], overrides: Sequence[str]) -> Planned:
    try:
        return plan_run(compose(overrides))
    except Refused as refusal:
        raise Refused(f"{refusal} (asked by: {' '.join(overrides)})") from None


def _returned(planned: Planned, value: float | None) -> JobReturn:
    return JobReturn(status=JobStatus.COMPLETED, _return_value=value, overrides=[planned.spec.title])


def _objective(planned: Planned) -> float | None:
    record = planned.folder.record()
    return None if record is None else float(record.value("valid_accuracy"))


def write_sweep(runs_dir: Path, name: str, planned: Sequence[Planned], overrides: Sequence[Sequence[str]]) -> None:
    """Remember under the sweep's name which runs it asked for: `runs/sweeps/<name>/sweep.json`."""
    folder = runs_dir / "sweeps" / name
    folder.mkdir(parents=True, exist_ok=True)
    asked = [{"key": p.spec.key, "overrides": list(o)} for p, o in zip(planned, overrides, strict=True)]
    write_text(folder / "sweep.json", json.dumps({"name": name, "time": time.time(), "runs": asked}, indent=1))


def _announce(board: Board, first: Planned) -> None:
    found = board.count(State.FINISHED)
    board.console.print(f"{len(board.runs)} runs: {found} found finished, {len(board.runs) - found} to do")
    if found < len(board.runs) and (words := how_tracked(first.runtime)):
        board.console.print(words, soft_wrap=True)


def _print_failures(board: Board, first: Planned) -> None:
    for key, spec in board.runs.items():
        if board.states[key] not in (State.FAILED, State.BLOCKED):
            continue
        folder = RunFolder(first.runtime.runs_dir, spec)
        why = (folder.failure() or "it left no word").strip().splitlines()[-TAIL_LINES:]
        if board.states[key] is State.BLOCKED:
            why = [f"not started: {spec.needs.key if spec.needs else '?'}, which it needs, failed"]
        board.console.print(f"\n{key} {spec.title} {board.states[key].value}:", style="bold red")
        board.console.print("\n".join(f"  {line}" for line in why), markup=False, highlight=False)
        board.console.print(f"  the rest: {folder.failure_file}", soft_wrap=True)


def _print_table(first: Planned) -> None:
    from analysis.tables import print_sweep_table

    print_sweep_table(first.runtime.runs_dir, first.sweep)


@dataclasses.dataclass
class LocalSlots:
    """Processes side by side on this machine: one per GPU, or one per core, unless `slots` says otherwise."""

    runtime: Runtime
    slots: int | str

    def work_off(self, board: Board) -> None:
        """Run everything on the board that is not finished. On Ctrl-C the children are ended and the error goes on."""
        if board.count(State.FINISHED) == len(board.runs):
            return
        gpus = visible_gpus() if self.runtime.device in ("auto", "cuda") else []
        count = int(self.slots) if self.slots != "auto" else len(gpus) or cores()
        if not gpus:
            os.environ.setdefault("OMP_NUM_THREADS", "1")
        busy: dict[int, tuple[str, Any]] = {}
        with board:
            try:
                while self._step(board, busy, count, gpus):
                    time.sleep(POLL_SECONDS)
                    board.refresh()
            except BaseException:
                _end([job for _, job in busy.values()])
                raise

    def _step(self, board: Board, busy: dict[int, tuple[str, Any]], count: int, gpus: list[int]) -> bool:
        """Free the slots of ended jobs, fill free slots; whether there is anything left to wait for."""
        for slot, (key, job) in list(busy.items()):
            if job.done():
                del busy[slot]
                self._settle(board, key, job)
        for slot in sorted(set(range(count)) - set(busy)):
            ready = board.next_ready()
            if ready is not None:
                busy[slot] = (ready, self._start(board.runs[ready], gpus[slot % len(gpus)] if gpus else None))
                board.set(ready, State.RUNNING)
        return bool(busy)

    def _start(self, spec: RunSpec, gpu: int | None) -> Any:
        import submitit

        folder = RunFolder(self.runtime.runs_dir, spec)
        folder.progress_file.unlink(missing_ok=True)
        executor = submitit.LocalExecutor(folder=folder.jobs)
        gpu_choice = {"gpus_per_node": 1, "visible_gpus": (gpu,)} if gpu is not None else {}
        executor.update_parameters(timeout_min=FOREVER_MINUTES, stderr_to_stdout=True, **gpu_choice)
        return executor.submit(work, spec.model_dump_json(), self.runtime.model_dump_json())

    def _settle(self, board: Board, key: str, job: Any) -> None:
        folder = RunFolder(self.runtime.runs_dir, key)
        if folder.record() is not None:
            board.set(key, State.FINISHED)
            return
        if folder.failure() is None:
            log = Path(job.paths.stdout)
            tail = log.read_text(errors="replace").splitlines()[-20:] if log.exists() else []
            folder.fail(
                "\n".join(["the process died without a word (killed, or out of memory?)", *tail, f"log: {log}"])
            )
        board.set(key, State.FAILED)


def visible_gpus() -> list[int]:
    """The GPUs of this machine that this process may use, without importing torch."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [int(name) for name in allowed.split(",") if name.strip().isdigit()]
    return list(range(len(glob.glob("/dev/nvidia[0-9]*"))))


def _end(jobs: Sequence[Any]) -> None:
    """Interrupt the children, and wait until they are gone."""
    for job in jobs:
        job.cancel()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not all(job.done() for job in jobs):
        time.sleep(0.05)

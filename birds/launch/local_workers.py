"""Runs runs as parallel processes on this machine, each forked from a server with all imports done.

Importing torch and Lightning takes seconds of CPU time. The fork server of multiprocessing does it
once for a sweep, so a run starts after a fraction of a second and shares the imported memory. Each
run is a process of its own: it can die, leak memory or be killed without harm to other runs. The
server itself trains nothing and opens no GPU. When the launching process dies in any way, its runs
are interrupted; the same command continues them from their last epoch.
"""

import contextlib
import dataclasses
import glob
import multiprocessing
import multiprocessing.process
import multiprocessing.util
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from birds.core.machine import cores
from birds.core.process import prepare_process
from birds.core.spec import RunSpec, Runtime, UserError, read_spec
from birds.core.state import State, is_finished, settle_death
from birds.core.store import RunFolder
from birds.core.triage import Kind, failure_of, oom_kills
from birds.launch.progress import Board

GPU_DEVICES = ("/dev/nvidia[0-9]*", "/dev/dxg", "/dev/nvhost-gpu")  # Linux, WSL, Jetson
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
REFRESH_SECONDS = 0.25
ENDING_SECONDS = 10


def _work(spec: str, runtime: str, log: Path, environ: Mapping[str, str]) -> None:
    """The work of a process: one run, in its own session, with its own log and the given
    environment.
    """
    os.setsid()
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environ)
    # A shell makes a background command ignore SIGINT, and this process would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    prepare_process()
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    from birds.train.run import run

    asked, where = read_spec(spec), Runtime.model_validate_json(runtime)
    try:
        run(asked, where)
    except Exception as error:
        folder = RunFolder(where.runs_dir, asked)
        if folder.failure() is None:  # it failed before the run was claimed
            folder.fail(failure_of(error))
        raise


def _end_with_launcher() -> None:
    launcher = multiprocessing.parent_process()
    assert launcher is not None
    launcher.join()
    os.killpg(0, signal.SIGINT)


@dataclasses.dataclass
class LocalSlots:
    """Slots for runs: one per GPU, or one per core without a GPU, unless `slots` sets a number.

    Several slots may share a GPU.
    """

    runtime: Runtime
    slots: int | str
    canary: bool = False
    fail_fast: bool = False
    oom_kills: int = dataclasses.field(default_factory=oom_kills)

    def work_off(self, board: Board) -> None:
        """Run everything on the board that is not finished.

        On Ctrl-C the processes are ended and the exception is raised again.
        """
        gpus = visible_gpus() if self.runtime.device in ("auto", "cuda") else []
        count = int(self.slots) if self.slots != "auto" else len(gpus) or cores()
        if not gpus:
            os.environ.setdefault("OMP_NUM_THREADS", "1")
        busy: dict[int, tuple[str, BaseProcess]] = {}
        with board:
            try:
                while self._step(board, busy, count, gpus):
                    wait(
                        [process.sentinel for _, process in busy.values()], timeout=REFRESH_SECONDS
                    )
                    board.refresh()
            except BaseException:
                _end([process for _, process in busy.values()])
                raise

    def _step(
        self, board: Board, busy: dict[int, tuple[str, BaseProcess]], count: int, gpus: list[str]
    ) -> bool:
        """Free the slots of ended processes and fill free slots; returns whether a run is
        active.
        """
        for slot, (key, process) in list(busy.items()):
            if process.exitcode is not None:
                del busy[slot]
                self._settle(board, key, process.exitcode)
        for slot in sorted(set(range(count)) - set(busy)):
            ready = board.next_ready()
            if ready is not None:
                busy[slot] = (
                    ready,
                    self._start(board.runs[ready], gpus[slot % len(gpus)] if gpus else None),
                )
                board.set(ready, State.RUNNING)
        return bool(busy)

    def _start(self, spec: RunSpec, gpu: str | None) -> BaseProcess:
        folder = RunFolder(self.runtime.runs_dir, spec)
        folder.progress_file.unlink(missing_ok=True)
        folder.jobs.mkdir(parents=True, exist_ok=True)
        environ = dict(os.environ) | ({"CUDA_VISIBLE_DEVICES": gpu} if gpu is not None else {})
        log = folder.jobs / f"{time.time_ns()}.log"
        use_short_socket_paths()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["birds.train.run", "hydra"]
        )  # hydra, since each process reads train.py anew
        told = (spec.model_dump_json(), self.runtime.model_dump_json(), log, environ)
        process = context.Process(target=_work, args=told, daemon=False)
        process.start()
        return process

    def _settle(self, board: Board, key: str, status: int) -> None:
        folder = RunFolder(self.runtime.runs_dir, key)
        if is_finished(folder):
            board.set(key, State.FINISHED)
            return
        kind = settle_death(folder, status, self.oom_kills)
        board.set(key, State.FAILED)
        bug = kind is Kind.BUG and not board.count(State.FINISHED)
        if self.fail_fast or (self.canary and bug):
            board.give_up(State.HELD)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by their CUDA names (3, GPU-8a2..., MIG-...).

    Does not import torch.
    """
    devices = gpu_devices()
    if not devices:  # the variable alone proves no GPU: it may come from a shell's start-up file
        return []
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [
            name.strip()
            for name in allowed.split(",")
            if name.strip() not in ("", "-1", "NoDevFiles")
        ]
    return [str(number) for number in range(len(devices))]


def gpu_devices() -> list[str]:
    """The device files of NVIDIA's GPUs on this machine."""
    return [path for pattern in GPU_DEVICES for path in sorted(glob.glob(pattern))]


def use_short_socket_paths() -> None:
    """Make multiprocessing put its sockets into a folder that can hold them.

    The path of a socket may have about 100 characters. Job folders in TMPDIR are often longer, and
    some file systems do not support sockets. Raises UserError if no folder works.
    """
    settings: dict[str, object] = vars(multiprocessing.process.current_process())["_config"]
    if settings.get("tempdir") is not None:
        return
    usual = tempfile.gettempdir()
    for folder in (usual, *SHORT_FOLDERS):
        if _holds_sockets(Path(folder)):
            tempfile.tempdir = folder
            try:
                multiprocessing.util.get_temp_dir()  # made once, then kept by multiprocessing
            finally:
                tempfile.tempdir = usual
            return
    raise UserError(
        f"no socket can be created in {usual}, /tmp or /dev/shm: set TMPDIR to a short path on a "
        "local disk, as in TMPDIR=/tmp"
    )


def _holds_sockets(folder: Path) -> bool:
    """Whether a socket with a path as long as multiprocessing's can be created in the folder."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="pymp-", dir=folder) as made,
            socket.socket(socket.AF_UNIX) as probe,
        ):
            probe.bind(str(Path(made) / "listener-12345678"))
    except OSError:
        return False
    return True


def _end(processes: Sequence[BaseProcess]) -> None:
    """Interrupt the processes and their children and wait; kill those that do not end."""
    for number in (signal.SIGINT, signal.SIGKILL):
        for process in processes:
            if process.pid is not None and process.exitcode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
        deadline = time.monotonic() + ENDING_SECONDS
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))

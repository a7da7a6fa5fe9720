"""Processes side by side on this machine, one a run, each forked from a server that has imported
everything.

Importing torch and Lightning costs seconds of CPU; the fork server (multiprocessing's) pays them
once a sweep, so a run is at its first step after a fraction of a second, and the imported pages are
shared. A run is still a process of its
own: it may die, leak or be killed without harm to another. The server itself trains nothing and
opens no GPU. When the launching process dies, however it dies, its runs are interrupted: asked
again, they go on from their last epoch.
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
    """What a process does: one run, in a session and with a log of its own, in the environment that
    was asked for.
    """
    os.setsid()
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environ)
    # A shell that starts a command in the background makes it ignore SIGINT, and so would this.
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
    """Slots for runs: one per GPU, or one per core, unless `slots` says otherwise; several may
    share a GPU.
    """

    runtime: Runtime
    slots: int | str
    canary: bool = False
    fail_fast: bool = False
    oom_kills: int = dataclasses.field(default_factory=oom_kills)

    def work_off(self, board: Board) -> None:
        """Run everything on the board that is not finished. On Ctrl-C the processes are ended and
        the error goes on.
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
        """Free the slots of ended processes, fill free slots; whether there is anything left to
        wait for.
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
        context.set_forkserver_preload(self._imported_once(spec))
        told = (spec.model_dump_json(), self.runtime.model_dump_json(), log, environ)
        process = context.Process(target=_work, args=told, daemon=False)
        process.start()
        return process

    def _imported_once(self, spec: RunSpec) -> list[str]:
        """The modules that runs would otherwise import one by one; read at the first run alone.

        hydra, since each process reads train.py anew; W&B's second module is what its start
        imports, a second in every run.
        """
        modules = ["birds.train.run", "hydra"]
        if self.runtime.tracking != "none":
            modules += ["wandb", "wandb.sdk.launch.inputs.internal"]
        if spec.training is None:  # a head that scikit-learn fits
            modules += ["sklearn.linear_model", "sklearn.pipeline"]
        return modules

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
    """The GPUs that this process may use, as CUDA names them (3, GPU-8a2..., MIG-...), without
    importing torch.
    """
    devices = gpu_devices()
    if not devices:  # a name alone is no GPU: the variable may come from a shell's start-up file
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
    """Let multiprocessing keep its sockets in a folder that can hold one.

    The path of a socket has about 100 characters at most, which job folders in TMPDIR exceed, and
    some file systems hold no sockets. Raises UserError where no folder does.
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
        f"no socket can be made in {usual}, /tmp or /dev/shm: set TMPDIR to a short path on a disk "
        "of this machine, as in TMPDIR=/tmp"
    )


def _holds_sockets(folder: Path) -> bool:
    """Whether a socket with a path as long as multiprocessing's can be made below the folder."""
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
    """Interrupt the processes and what they started, and wait until they are gone; who stays is
    killed.
    """
    for number in (signal.SIGINT, signal.SIGKILL):
        for process in processes:
            if process.pid is not None and process.exitcode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
        deadline = time.monotonic() + ENDING_SECONDS
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))

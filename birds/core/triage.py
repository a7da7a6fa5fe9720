"""Classifies why a run failed and says what to do: the first two lines of `failure.txt`.

The kind follows from the exception of the run. If the process died without one, it follows from
the exit status or signal of the process.
"""

import dataclasses
import enum
import signal
import traceback
from pathlib import Path

from birds.core.spec import UserError

MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
DATA_WORDS = ("unreadable photo", "cannot identify image", "image file is truncated")
MACHINE_WORDS = (
    "AF_UNIX path too long",
    "CUDA driver",
    "no CUDA-capable device",
    "uncorrectable ECC",
    "unable to open shared memory",
    "too many open files",
)
MACHINE_SIGNALS = (signal.SIGBUS, signal.SIGILL)  # full /dev/shm; instruction missing in the CPU


class Kind(enum.Enum):
    """The kinds of failure: a short name and what to do about it."""

    MEMORY = (
        "out of memory",
        "run the same command again, it continues with half the batch; or give it more memory",
    )
    DIVERGED = (
        "diverged",
        "lower the learning rate, as in budget.classify.lr=1e-3, or train with precision=32",
    )
    TIMEOUT = (
        "time limit",
        "raise slurm.time or slurm.max_requeues; birds retry continues from the last epoch",
    )
    NODE = "node lost", "birds retry continues from the last epoch"
    DATA = (
        "unreadable data",
        "repair the photo, or skip unreadable photos with data.skip_unreadable=true",
    )
    DISK = "disk", "free some disk space, then run the same command again; finished runs are kept"
    MACHINE = (
        "the machine",
        "fix what the message names (a file, a folder, a limit), or use another machine; "
        "birds retry continues from the last epoch",
    )
    REFUSED = "cannot be done", "change the options as the message says"
    KILLED = "killed", "a user or the system ended it; birds retry continues from the last epoch"
    BUG = "bug in the code", "fix the code (the traceback is below), then use birds retry"

    def __init__(self, word: str, cure: str) -> None:
        self.word, self.cure = word, cure


@dataclasses.dataclass(frozen=True)
class Failure:
    """A kind, the reason in one line, and details (a traceback, the end of a log)."""

    kind: Kind
    reason: str
    details: str = ""

    def __str__(self) -> str:
        return (
            f"{self.kind.word}: {self.reason}\ncure: {self.kind.cure}\n\n{self.details}".rstrip()
            + "\n"
        )


def failure_of(error: BaseException) -> Failure:
    """The failure that belongs to an exception, with its traceback."""
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return Failure(_kind(error), reason, "".join(traceback.format_exception(error)))


def _kind(error: BaseException) -> Kind:
    words = str(error)
    if isinstance(error, MemoryError) or any(
        known.lower() in words.lower() for known in MEMORY_WORDS
    ):
        return Kind.MEMORY
    if isinstance(error, FloatingPointError):
        return Kind.DIVERGED
    if any(known in words for known in DATA_WORDS):
        return Kind.DATA
    if words.startswith("disk full") or (
        isinstance(error, OSError) and error.strerror and "space" in error.strerror
    ):
        return Kind.DISK
    if isinstance(error, UserError):
        return Kind.REFUSED
    return Kind.MACHINE if _of_the_machine(error) else Kind.BUG


def _of_the_machine(error: BaseException) -> bool:
    """Whether the system caused the error and not the code: a file, a lock, a socket, a driver, or
    a file name that is not valid text.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return True
    if isinstance(error, UnicodeError) and "surrogates not allowed" in str(error):
        return True
    return any(known.lower() in str(error).lower() for known in MACHINE_WORDS)


def failure_of_death(status: int | None, *, memory_short: bool, details: str) -> Failure:
    """The failure of a process that died without an exception of its own.

    Args:
        status: its exit status, or a signal as a negative number; None if unknown.
        memory_short: whether the kernel or SLURM killed a process because memory ran out.
        details: the end of its log.
    """
    if status in (None, -signal.SIGKILL) and memory_short:
        return Failure(Kind.MEMORY, "the kernel killed the process: out of memory", details)
    if status is None:
        return Failure(Kind.KILLED, "the process is gone and left no message", details)
    if status < 0:
        kind = Kind.MACHINE if -status in MACHINE_SIGNALS else Kind.KILLED
        name = signal.Signals(-status).name
        return Failure(kind, f"the process was ended by {name}", details)
    return Failure(Kind.BUG, f"the process ended with status {status} without a message", details)


def kind_of(text: str) -> Kind | None:
    """The kind named at the beginning of a `failure.txt`; None if there is none."""
    return next((kind for kind in Kind if text.startswith(f"{kind.word}: ")), None)


def oom_kills() -> int:
    """How many processes the kernel has killed since the machine started because memory ran out."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

"""Why a run failed, in one word, and what cures it: the first two lines of `failure.txt`.

Kinds are told apart by the error that reached the run, or, when its process died without a word, by
how it died.
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
MACHINE_SIGNALS = (signal.SIGBUS, signal.SIGILL)  # a full /dev/shm, a CPU without an instruction


class Kind(enum.Enum):
    """What a run died of, in a word, and what cures it."""

    MEMORY = (
        "out of memory",
        "asked again, it goes on with half the photos at a time; or ask for more memory",
    )
    DIVERGED = (
        "diverged",
        "lower the learning rate, as in budget.classify.lr=1e-3, or train with precision=32",
    )
    TIMEOUT = (
        "time limit",
        "raise slurm.time or slurm.max_requeues; birds retry goes on from the last epoch",
    )
    NODE = "node lost", "birds retry goes on from the last epoch"
    DATA = (
        "unreadable data",
        "repair the photo, or leave such photos out with data.skip_unreadable=true",
    )
    DISK = "disk", "free some room; what was finished is kept, and the same command goes on"
    MACHINE = (
        "the machine",
        "see to what the message names (a file, a folder, a limit), or use another machine; "
        "birds retry goes on from the last epoch",
    )
    REFUSED = "cannot be done", "change what was asked as the message says"
    KILLED = "killed", "somebody or something ended it; birds retry goes on from the last epoch"
    BUG = "bug in the code", "mend the code (the traceback is below), then birds retry"

    def __init__(self, word: str, cure: str) -> None:
        self.word, self.cure = word, cure


@dataclasses.dataclass(frozen=True)
class Failure:
    """A kind, the reason in one line, and what else is known (a traceback, the end of a log)."""

    kind: Kind
    reason: str
    details: str = ""

    def __str__(self) -> str:
        return (
            f"{self.kind.word}: {self.reason}\ncure: {self.kind.cure}\n\n{self.details}".rstrip()
            + "\n"
        )


def failure_of(error: BaseException) -> Failure:
    """The failure that an error means, with its traceback."""
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
    """Whether the system, and not the code, said no: a file, a lock, a socket, a driver, a name
    that is no text.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return True
    if isinstance(error, UnicodeError) and "surrogates not allowed" in str(error):
        return True
    return any(known.lower() in str(error).lower() for known in MACHINE_WORDS)


def failure_of_death(status: int | None, *, memory_short: bool, details: str) -> Failure:
    """The failure of a process that died without a word.

    Args:
        status: how it ended: an exit status, a signal as a negative number, or None where that is
            not known.
        memory_short: whether the kernel or SLURM is known to have ended a process for want of
            memory.
        details: the end of its log.
    """
    if status in (None, -signal.SIGKILL) and memory_short:
        return Failure(Kind.MEMORY, "the kernel ended the process for want of memory", details)
    if status is None:
        return Failure(Kind.KILLED, "the process is gone and left no word", details)
    if status < 0:
        kind = Kind.MACHINE if -status in MACHINE_SIGNALS else Kind.KILLED
        name = signal.Signals(-status).name
        return Failure(kind, f"the process was ended by {name}", details)
    return Failure(Kind.BUG, f"the process ended with status {status} and left no word", details)


def kind_of(text: str) -> Kind | None:
    """The kind that the text of a `failure.txt` begins with; None for a text of another form."""
    return next((kind for kind in Kind if text.startswith(f"{kind.word}: ")), None)


def oom_kills() -> int:
    """How many processes the kernel of this machine has ended for want of memory since it
    started.
    """
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

"""Where a run is, read from its folder: the one place that knows what its files mean.

A record says finished, a held lock says running, `failure.txt` says failed. Only what none of them
explains is lost. What SLURM knows beyond that is added by `birds.launch.slurm.status`.
"""

import enum
from collections.abc import Mapping
from pathlib import Path

from birds.core.spec import RunSpec
from birds.core.store import RunFolder, is_locked
from birds.core.triage import Kind, failure_of_death, kind_of, oom_kills

DETAILS = 2000  # characters of a dead process's log that are kept


class State(enum.Enum):
    """Where a run is."""

    TODO = "to do"
    WAITING = "waiting"
    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    LOST = "lost"
    BLOCKED = "blocked"


OVER = (  # nothing more will happen
    State.FINISHED,
    State.FAILED,
    State.LOST,
    State.BLOCKED,
    State.HELD,
    State.TODO,
)
UNMET = (State.FAILED, State.LOST, State.BLOCKED)  # what needs such a run is blocked
AGAIN = (State.FAILED, State.LOST, State.BLOCKED, State.HELD)  # what `birds retry` does


def is_finished(folder: RunFolder) -> bool:
    """Whether the run left its record. Raises UserError where it is one of another recipe."""
    return folder.record() is not None


def state_of(folder: RunFolder) -> State:
    """What the folder alone says: FINISHED, RUNNING, FAILED, LOST, or TODO before the first
    start.
    """
    if is_finished(folder):
        return State.FINISHED
    if is_locked(folder.lock_file):
        return State.RUNNING
    if folder.failure() is not None:
        return State.FAILED
    return State.LOST if folder.attempt_file.exists() else State.TODO


def unfinished_need(spec: RunSpec, runs_dir: Path) -> str | None:
    """The key of a run that is needed directly and left no record; None when all are finished."""
    for needed in spec.needs:
        if not is_finished(RunFolder(runs_dir, needed)):
            return needed.key
    return None


def root_cause(spec: RunSpec, states: Mapping[str, State]) -> RunSpec | None:
    """The run that this one cannot start without and that is not to be had, at whatever depth.

    It is the deepest one that failed or was lost; None where nothing stands in the way.

    Args:
        spec: a run.
        states: the states of runs by key; runs that are not in it stand in nobody's way.
    """
    for run in spec.lineage():
        if run.key != spec.key and states.get(run.key) in UNMET:
            return run
    return None


def not_started(cause: RunSpec) -> str:
    """Why a run was not started: the sentence that names what it needs."""
    return f"not started: {cause.key} ({cause.title}), which it needs, failed"


def settle_death(folder: RunFolder, status: int, oom_kills_before: int) -> Kind | None:
    """Leave why a run's process died in its folder, unless the run said so itself; returns the
    kind.

    Args:
        folder: of a run without a record, whose process has ended.
        status: how it ended: an exit status, or a signal as a negative number.
        oom_kills_before: `oom_kills()` when the process had not been started yet.
    """
    if folder.failure() is None:
        log = folder.log()
        tail = log.read_text(errors="replace")[-DETAILS:] if log else ""
        memory_short = oom_kills() > oom_kills_before
        details = f"{tail}\nlog: {log}"
        folder.fail(failure_of_death(status, memory_short=memory_short, details=details))
    return kind_of(folder.failure() or "")

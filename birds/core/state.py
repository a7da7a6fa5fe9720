"""The state of a run, from the files in its folder.

A record means finished, a held lock means running, `failure.txt` means failed. A run that none of
them explains is lost. `birds.launch.slurm.status` adds what SLURM knows.
"""

import enum
from collections.abc import Mapping
from pathlib import Path

from birds.core.spec import RunSpec
from birds.core.store import RunFolder, is_locked
from birds.core.triage import Kind, failure_of_death, kind_of, oom_kills

DETAILS = 2000  # characters of a dead process's log that are kept


class State(enum.Enum):
    """The state of a run."""

    TODO = "to do"
    WAITING = "waiting"
    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    LOST = "lost"
    BLOCKED = "blocked"


OVER = (  # the state will not change any more
    State.FINISHED,
    State.FAILED,
    State.LOST,
    State.BLOCKED,
    State.HELD,
    State.TODO,
)
UNMET = (State.FAILED, State.LOST, State.BLOCKED)  # runs that need such a run are blocked
AGAIN = (State.FAILED, State.LOST, State.BLOCKED, State.HELD)  # runs that `birds retry` repeats


def is_finished(folder: RunFolder) -> bool:
    """Whether the run has a record. Raises UserError for a record of another recipe."""
    return folder.record() is not None


def state_of(folder: RunFolder) -> State:
    """The state from the folder alone: FINISHED, RUNNING, FAILED, LOST, or TODO if never
    started.
    """
    if is_finished(folder):
        return State.FINISHED
    if is_locked(folder.lock_file):
        return State.RUNNING
    if folder.failure() is not None:
        return State.FAILED
    return State.LOST if folder.attempt_file.exists() else State.TODO


def unfinished_need(spec: RunSpec, runs_dir: Path) -> str | None:
    """The key of a directly needed run without a record; None if all are finished."""
    for needed in spec.needs:
        if not is_finished(RunFolder(runs_dir, needed)):
            return needed.key
    return None


def root_cause(spec: RunSpec, states: Mapping[str, State]) -> RunSpec | None:
    """The failed or lost run that keeps this run from starting; None if there is none.

    Of several, the deepest in the chain of needs is returned.

    Args:
        spec: a run.
        states: the states of runs by key; missing runs block nothing.
    """
    for run in spec.lineage():
        if run.key != spec.key and states.get(run.key) in UNMET:
            return run
    return None


def not_started(cause: RunSpec) -> str:
    """A sentence that says why a run was not started."""
    return f"not started: it needs {cause.key} ({cause.title}), which failed"


def settle_death(folder: RunFolder, status: int, oom_kills_before: int) -> Kind | None:
    """Write why a run's process died into its folder, unless the run did so itself.

    Args:
        folder: the folder of a run without a record, whose process has ended.
        status: the exit status, or a signal as a negative number.
        oom_kills_before: `oom_kills()` before the process was started.

    Returns:
        The kind of the failure.
    """
    if folder.failure() is None:
        log = folder.log()
        tail = log.read_text(errors="replace")[-DETAILS:] if log else ""
        memory_short = oom_kills() > oom_kills_before
        details = f"{tail}\nlog: {log}"
        folder.fail(failure_of_death(status, memory_short=memory_short, details=details))
    return kind_of(folder.failure() or "")

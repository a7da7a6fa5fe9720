"""The status of every run of a sweep, from the run folders first and from SLURM second.

A record means finished, a held lock or an active job means running or queued, and `failure.txt`
means failed and gives the reason. A run that none of them explains is lost; SLURM's reason is shown
while SLURM remembers it. SLURM's accounting is not needed.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from birds.core.spec import RunSpec, UserError
from birds.core.state import UNMET, State, state_of
from birds.core.store import RunFolder
from birds.core.sweep import titles
from birds.launch.slurm.client import Element
from birds.launch.slurm.submissions import HELD, held_file, known_elements, read_submissions

LAST_WORDS = {
    "CANCELLED": "cancelled",
    "TIMEOUT": "time limit",
    "NODE_FAIL": "node lost",
    "FAILED": "its job failed",
}


@dataclasses.dataclass(frozen=True)
class RunStatus:
    """One run: its state, the reason, its progress, and its log. Times are in seconds."""

    key: str
    title: str
    stage: str
    state: State
    why: str = ""
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    seconds_left: float | None = None
    job: str = ""
    node: str = ""
    log: str = ""


def sweep_status(runs_dir: Path, sweep: str, runs: Mapping[str, RunSpec]) -> list[RunStatus]:
    """The status of each run, in the order of `runs`. Also works without SLURM."""
    jobs, named = _jobs(runs_dir), titles(runs)
    on_hold = held_file(runs_dir, sweep).exists()
    found: dict[str, RunStatus] = {}
    for key, spec in runs.items():
        needed = [found[run.key] for run in spec.lineage() if run.key in found]
        own = _status(RunFolder(runs_dir, key), spec, jobs.get(key), needed, on_hold)
        found[key] = dataclasses.replace(own, title=named[key])
    return list(found.values())


def _jobs(runs_dir: Path) -> dict[str, Element]:
    """For each run the newest array element; for ended elements, SLURM's last state if known."""
    submissions = [s for s in read_submissions(runs_dir) if s.job_id is not None or s.ended is None]
    try:
        known = known_elements(submissions)
    except UserError:
        known = {}  # no SLURM here, or it does not answer: run folders tell
    found: dict[str, Element] = {}
    for submission in submissions:
        alive = {element.index: element for element in known.get(submission.token, [])}
        for index, keys in submission.jobs.items():
            state = (submission.ended or {}).get(index, "")
            gone = Element(
                submission.job_id or 0, index, state or "UNKNOWN", "", "", submission.name
            )
            found |= {key: alive.get(index, gone) for key in keys}
    return found


def _status(
    folder: RunFolder,
    spec: RunSpec,
    job: Element | None,
    needed: Sequence[RunStatus],
    on_hold: bool,
) -> RunStatus:
    log = folder.log()
    told: dict[str, Any] = {
        "key": folder.key,
        "title": spec.title,
        "stage": spec.stage,
        "log": str(log or ""),
    }
    if job is not None and job.array:
        told |= {"job": job.id, "node": job.node}
    state = state_of(folder)
    if state is State.FINISHED:
        return RunStatus(**told, state=state)
    if state is State.RUNNING:
        return _running(folder, told)
    if job is not None and job.alive and job.state != "UNKNOWN":
        return _queued(folder, told, job, needed, on_hold)
    if state is State.FAILED:
        failure = (folder.failure() or "").splitlines()
        return RunStatus(**told, state=state, why=failure[0] if failure else "")
    cause = next((run for run in needed if run.state in UNMET), None)  # the deepest comes first
    if cause is not None:
        why = f"{cause.key}, which it needs: {cause.state.value}"
        return RunStatus(**told, state=State.BLOCKED, why=why)
    if job is None and state is State.TODO:
        return RunStatus(**told, state=state)
    return RunStatus(**told, state=State.LOST, why=_last_word(job))


def _last_word(job: Element | None) -> str:
    if job is None:
        return "its process is gone"
    if job.state == "UNKNOWN":
        return "its job is gone"
    word = LAST_WORDS.get(job.state, job.state.lower().replace("_", " "))
    return word + f" ({job.reason})" * (job.reason not in ("", "None"))


def _running(folder: RunFolder, told: dict[str, Any]) -> RunStatus:
    progress = folder.progress()
    far = {
        name: progress[name]
        for name in ("epoch", "epochs", "loss", "seconds_left")
        if name in progress
    }
    told["node"] = told.get("node") or folder.attempt().get("host", "")
    return RunStatus(**told, **far, state=State.RUNNING)


def _queued(
    folder: RunFolder,
    told: dict[str, Any],
    job: Element,
    needed: Sequence[RunStatus],
    on_hold: bool,
) -> RunStatus:
    if job.state == "RUNNING" and folder.attempt().get("job") == job.id:
        return _running(folder, told)  # where locks do not reach over the file system
    if job.state == "RUNNING":
        return RunStatus(**told, state=State.QUEUED, why="its job has started")
    if on_hold and job.reason.startswith(HELD):
        return RunStatus(
            **told, state=State.HELD, why="the first run had a bug; fix it, then use birds retry"
        )
    awaited = next((run for run in needed if run.state is not State.FINISHED), None)
    if awaited is not None and job.reason == "Dependency":
        return RunStatus(**told, state=State.WAITING, why=f"for {awaited.key}")
    return RunStatus(**told, state=State.QUEUED, why=job.reason if job.reason != "None" else "")


def as_json(found: list[RunStatus]) -> str:
    """The statuses as a JSON list of objects, for other programs."""
    return json.dumps(
        [dataclasses.asdict(one) | {"state": one.state.value} for one in found], indent=1
    )

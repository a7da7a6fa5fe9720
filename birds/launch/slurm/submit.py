"""Submits runs as job arrays, level by level of the dependency graph.

A job has the same array index as the run that it needs, and its array depends on the other array
by `aftercorr`. So it starts when its own need has succeeded, and is cancelled when that failed. If
a job contains several runs, its status is not enough: dependent jobs wait for its end (`afterany`)
and check the record themselves. A run with several needs waits for each of them.
"""

import dataclasses
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import submitit

from birds.core.spec import RunSpec, Runtime, UserError
from birds.core.state import is_finished
from birds.core.store import RunFolder, write_text
from birds.launch.slurm import client
from birds.launch.slurm.client import Silent
from birds.launch.slurm.profile import Profile, Resources
from birds.launch.slurm.submissions import HELD, Submission, held_file, places, settled, submitting

HOME = Path(__file__).resolve().parents[3]
WORK = "birds.train.run.run"  # what a job does with each run
T = TypeVar("T")
V = TypeVar("V")


@dataclasses.dataclass(frozen=True)
class Order:
    """How a sweep is to be submitted."""

    sweep: str
    runtime: Runtime
    profile: Profile
    canary: bool = True
    fail_fast: bool = False


class Array(NamedTuple):
    """A planned array: the keys of each job's runs by index, its resources, and its dependency in
    sbatch's syntax.
    """

    stage: str
    jobs: dict[int, tuple[str, ...]]
    resources: Resources
    depends: str


class Place(NamedTuple):
    """The job of a run: the array's id, the index in it, and whether other runs share the job."""

    array: str
    at: int
    shared: bool


def submit(order: Order, runs: Mapping[str, RunSpec]) -> list[Submission]:
    """Submit the runs that are neither finished nor already submitted. Returns the new arrays.

    Raises UserError when the cluster rejects an array; all new arrays are then cancelled.
    """
    settings = client.settings()
    with submitting(order.runtime.runs_dir) as lock:
        where = _on_their_way(order, runs)
        todo = [
            spec for key, spec in runs.items() if key not in where and not _finished(order, spec)
        ]
        sent: list[Submission] = []

        def send(array: Array) -> str:
            sent.append(_send(order, array, client.number(settings["KillWait"]), lock))
            return str(sent[-1].job_id)

        try:
            lay_out(order, todo, where, int(settings["MaxArraySize"]), send)
        except Silent:
            raise  # what became of the last array will be found by its name
        except UserError:
            _take_back(sent)
            raise
    return sent


def _finished(order: Order, spec: RunSpec) -> bool:
    return is_finished(RunFolder(order.runtime.runs_dir, spec))


def _on_their_way(order: Order, runs: Mapping[str, RunSpec]) -> dict[str, Place]:
    """The jobs of runs that are already submitted.

    Held jobs of these runs are cancelled, whatever sweep they belong to: a new request means that
    they should run.
    """
    living = settled(order.runtime.runs_dir)
    marks = {s.sweep: held_file(order.runtime.runs_dir, s.sweep) for s, _ in living}
    marked = {sweep for sweep, mark in marks.items() if mark.exists()}
    gone: set[str] = set()
    still_held: set[str] = set()
    for submission, own in living:
        held = [e for e in own if e.reason.startswith(HELD)] if submission.sweep in marked else []
        for element in held:
            if set(submission.jobs[element.index]) & set(runs):
                gone.add(element.id)
            else:
                still_held.add(submission.sweep)
    for sweep in marked - still_held:
        marks[sweep].unlink(missing_ok=True)
    client.cancel(sorted(gone))
    kept = []
    for submission, own in living:
        kept.append((submission, [element for element in own if element.id not in gone]))
    living = kept
    jobs = {(s.job_id, index): keys for s, _ in living for index, keys in s.jobs.items()}
    return {
        key: Place(str(element.array), element.index, len(jobs[element.array, element.index]) > 1)
        for key, element in places(living).items()
    }


def lay_out(
    order: Order,
    todo: Sequence[RunSpec],
    where: Mapping[str, Place],
    limit: int,
    send: Callable[[Array], str],
) -> None:
    """Call `send` with every array, in an order in which they can be submitted.

    Args:
        order: how the sweep is submitted.
        todo: the runs.
        where: the jobs of runs that are already submitted.
        limit: the cluster's MaxArraySize; indices stay below it.
        send: submits an array and returns its id.
    """
    where = dict(where)
    by_depth = sorted(todo, key=lambda spec: (spec.depth, spec.stage == "classify"))
    for (_, stage), level in _grouped(by_depth, lambda spec: (spec.depth, spec.stage)):
        for resources, specs in _grouped(level, order.profile.resources):
            for array in _arrays(stage, resources, specs, where, limit):
                job = send(array)
                for index, keys in array.jobs.items():
                    where |= {key: Place(job, index, len(keys) > 1) for key in keys}


def _grouped(items: Iterable[T], value_of: Callable[[T], V]) -> list[tuple[V, list[T]]]:
    """The items by equal value, in the order in which values first appear."""
    groups: dict[str, tuple[V, list[T]]] = {}
    for item in items:
        value = value_of(item)
        groups.setdefault(repr(value), (value, []))[1].append(item)
    return list(groups.values())


def _arrays(
    stage: str,
    resources: Resources,
    specs: Sequence[RunSpec],
    where: Mapping[str, Place],
    limit: int,
) -> Iterator[Array]:
    paired: dict[str, list[dict[int, tuple[str, ...]]]] = {}
    others: list[tuple[str, str]] = []
    for spec in specs:
        places = [where[needed.key] for needed in spec.needs if needed.key in where]
        alone = len(places) == 1 and not places[0].shared
        if alone and resources.runs_per_job == 1:
            levels = paired.setdefault(places[0].array, [])
            level = next((level for level in levels if places[0].at not in level), None)
            if level is None:
                levels.append(level := {})
            level[places[0].at] = (spec.key,)
        else:
            others.append((",".join(_after(place) for place in places), spec.key))
    for depends, members in _grouped(others, lambda pair: pair[0]):
        keys = [key for _, key in members]
        jobs = [tuple(part) for part in _parts(keys, resources.runs_per_job)]
        for part in _parts(jobs, limit):
            yield Array(stage, dict(enumerate(part)), resources, depends)
    for array, levels in paired.items():
        yield from (Array(stage, level, resources, f"aftercorr:{array}") for level in levels)


def _after(place: Place) -> str:
    """sbatch's dependency on one job: on its end if other runs share it, else on its success."""
    return f"{'afterany' if place.shared else 'afterok'}:{place.array}_{place.at}"


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[first : first + size] for first in range(0, len(items), size))


def _send(order: Order, array: Array, kill_wait_s: int, lock: int) -> Submission:
    """Save the array, submit it with sbatch, and save its job id."""
    submission = _draft(order, array, token=secrets.token_hex(4), kill_wait_s=kill_wait_s).save()
    logs_folder(submission).mkdir(exist_ok=True)
    script = submission.file.with_suffix(".sh")
    write_text(script, script_of(submission))
    try:
        answer = client.ask("sbatch", "--parsable", str(script), keep_open=[lock])
    except Silent:
        raise
    except UserError:
        submission.forget()
        raise
    return submission.but(job_id=int(answer.split(";")[0])).save()


def _draft(order: Order, array: Array, *, token: str = "0" * 8, kill_wait_s: int = 0) -> Submission:
    told = array._asdict() | {
        name: getattr(order, name) for name in ("sweep", "runtime", "canary", "fail_fast")
    }
    told |= {"max_requeues": order.profile.max_requeues, "work": WORK, "written": time.time()}
    return Submission(token=token, kill_wait_s=kill_wait_s, **told)


def _take_back(sent: Sequence[Submission]) -> None:
    """Cancel and forget the arrays that were submitted before another one was rejected."""
    client.cancel([str(submission.job_id) for submission in sent])
    for submission in sent:
        submission.forget()


class _Executor(submitit.SlurmExecutor):  # type: ignore[misc]
    """submitit's executor, used for its sbatch text; also works on machines without SLURM."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def logs_folder(submission: Submission) -> Path:
    """The folder for the logs of a sweep's jobs; the logs of runs are in the run folders."""
    return submission.file.parent.parent / "jobs"


def script_of(submission: Submission) -> str:
    """The sbatch script: submitit's text, with our worker as its command."""
    executor = _Executor(folder=logs_folder(submission))
    given = submission.resources.sbatch()
    extra = {
        "chdir": str(HOME),
        "kill-on-invalid-dep": "yes",
        "requeue": True,
        "open-mode": "append",
    }
    if submission.depends:
        extra["dependency"] = submission.depends
    parallel = given.pop("array_parallelism")
    extra["array"] = f"{_ranges(sorted(submission.jobs))}%{min(parallel, len(submission.jobs))}"
    given["additional_parameters"] = extra | given.get("additional_parameters", {})
    try:
        executor.update_parameters(job_name=submission.name, stderr_to_stdout=True, **given)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"submitit does not accept this profile: {str(error).splitlines()[0]}"
        ) from None
    executor.parameters["map_count"] = len(submission.jobs)  # names logs by array and index
    command = [sys.executable, "-u", "-m", "birds.launch.slurm.worker", str(submission.file)]
    text: str = executor._make_submission_file_text(shlex.join(command), submission.token)
    return text


def _ranges(indices: Sequence[int]) -> str:
    """Ascending indices in sbatch's syntax: `0-3,7`."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def scripts(order: Order, runs: Mapping[str, RunSpec]) -> list[str]:
    """The sbatch text of every array that a new submission would have; submits nothing.

    Ids of arrays that do not exist yet appear as ARRAY1, ARRAY2, ..., and tokens as zeros.
    """
    todo = [spec for spec in runs.values() if not _finished(order, spec)]
    limit = int(client.settings()["MaxArraySize"]) if client.installed() else 1001
    texts: list[str] = []

    def send(array: Array) -> str:
        texts.append(script_of(_draft(order, array)))
        return f"ARRAY{len(texts)}"

    lay_out(order, todo, {}, limit, send)
    return texts

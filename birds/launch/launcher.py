"""The staged launcher: trains each distinct pretraining once, then the runs that need it.

On this machine each run is a process of its own (`birds.launch.local_workers`). It starts when a
slot is free and the runs that it needs are finished. On a SLURM cluster runs are job arrays with
dependencies (`birds.launch.slurm`). The folder of a run decides its state, never the process: a run
whose process died without a record has failed.
"""

from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from birds.core.errors import RunsFailed
from birds.core.home import birds_on
from birds.core.spec import RunSpec, UserError
from birds.core.state import State, not_started, root_cause
from birds.core.store import RunFolder
from birds.core.sweep import LAST, Asked, Sweep, with_needs
from birds.core.terminal import tell
from birds.launch.foretold import efforts, foretold
from birds.launch.local_workers import LocalSlots
from birds.launch.looks import Asked as AskedJob
from birds.launch.looks import Looks, read_goal, refuse_odd_looks, rounds
from birds.launch.plan import Planned, describe, how_tracked, plan_run, told_before
from birds.launch.progress import Board

TAIL_LINES = 6
LoadTable = Callable[[], Callable[[Path, str, str], object]]
LoadLooks = Callable[[], Looks]

UNKNOWN = object()  # a key that no configuration has


def launch(
    compose: Callable[[Sequence[str]], DictConfig],
    job_overrides: Sequence[Sequence[str]],
    load_table: LoadTable,
    load_looks: LoadLooks,
) -> list[JobReturn]:
    """Plan every job, run what is not finished, and print the result table.

    Args:
        compose: turns overrides into a composed configuration.
        job_overrides: the overrides of each job of the sweep.
        load_table: imports and returns the function that prints a sweep's table (runs folder, name
            of the sweep, name of the files).
        load_looks: imports and returns the statistics for a sweep with `launch.until`.

    Raises UserError before anything starts; RunsFailed at the end, but not in a search.
    """
    common = set(job_overrides[0]).intersection(*job_overrides) if job_overrides else set()
    asked = [(words, job) for words in job_overrides if (job := _planned(compose, words, common))]
    if not asked:
        raise UserError("launch.exclude removes every run of this sweep")
    planned = [one for _, job in asked for one in job]
    first, runs = planned[0], with_needs([p.spec for p in planned])
    if first.average_over and not first.launch.wait:
        raise UserError(
            "a search needs the result of each trial before the next one: use launch.wait=true"
        )
    for line in (*told_before(planned), *foretold(planned, runs)):
        tell(line)
    looks = load_looks() if first.launch.until else None
    if looks:
        refuse_odd_looks(asked, looks)
    if first.dry_run:
        _print_dry(planned, runs)
        return [_returned(job, None) for _, job in asked]
    if looks:
        _do_in_looks(asked, looks, load_table)
    else:
        _do(asked, load_table)
    return [_returned(job, _objective(job)) for _, job in asked]


def _do(asked: Sequence[AskedJob], load_table: LoadTable) -> str:
    """Run the unfinished runs of these jobs and print the table; returns the sweep's name."""
    first = asked[0][1][0]
    runs = with_needs([planned.spec for _, job in asked for planned in job])
    listed = [Asked(key=p.spec.key, overrides=tuple(words)) for words, job in asked for p in job]
    sweep = _sweep(first, listed)
    _refuse_odd_cluster(sweep)
    searching = bool(first.average_over)
    with sweep.claimed(first.runtime.runs_dir, runs, beside_older=searching) as named:
        board = Board(
            first.runtime.runs_dir, runs, efforts([p for _, job in asked for p in job], runs)
        )
        _work_and_tell(named, first, board, load_table)
    return named.name


def _do_in_looks(asked: Sequence[AskedJob], looks: Looks, load_table: LoadTable) -> None:
    """Run the lowest seeds, analyse them, and add seeds where needed (`launch.until`)."""
    first = asked[0][1][0]
    assert first.launch.until is not None
    goal, runs_dir, name = read_goal(first.launch.until), first.runtime.runs_dir, ""

    def still_open(seeds: int) -> frozenset[str]:
        found = looks.look(runs_dir, name, goal.points, goal.gap)
        goal_words = f"launch.until={first.launch.until}"
        print(f"Interim analysis at {seeds} seeds, {goal_words}:", *found.lines, sep="\n")
        return found.open_runs

    done: list[AskedJob] = []
    for done in rounds(asked, looks.numbers, still_open):
        name = _do(done, load_table)
    saved = len(asked) - len(done)
    if saved:
        print(f"The results are precise enough: {saved} of {len(asked)} runs were not needed")
    else:
        print("\n".join(looks.look(runs_dir, name, goal.points, goal.gap).lines))


def _work_and_tell(sweep: Sweep, first: Planned, board: Board, load_table: LoadTable) -> None:
    """Run what is not finished; if it waits for the end, print the failures and the table."""
    runs_dir = first.runtime.runs_dir
    _announce(board, runs_dir, sweep.shown_as(runs_dir))
    is_new = board.count(State.FINISHED) < len(board.runs)
    wait = first.launch.wait or first.slurm is None
    work_off(sweep, board, wait=wait, meanwhile=load_table)
    if not wait:
        return
    print_failures(board, runs_dir)
    if not first.average_over:
        print_table = load_table()
        print_table(runs_dir, sweep.name, sweep.shown_as(runs_dir))
        if is_new and (words := how_tracked(first.runtime)):
            print(words)
        refuse_failures(board)


def _planned(
    compose: Callable[[Sequence[str]], DictConfig], overrides: Sequence[str], common: Set[str]
) -> list[Planned]:
    """The runs of one job: none if it is excluded, one, or in a search one for each seed of the
    average. A refusal names the overrides of the job that are not `common` to all jobs.
    """
    try:
        config = compose(overrides)
        if any(_fits(cell, config) for cell in OmegaConf.select(config, "launch.exclude") or ()):
            return []
        seeds = OmegaConf.select(config, "search.seeds")
        return (
            [plan_run(compose([*overrides, f"seed={seed}"])) for seed in seeds]
            if seeds
            else [plan_run(config)]
        )
    except UserError as refusal:
        own = " ".join(word for word in overrides if word not in common)
        raise UserError(f"{refusal} (in the job: {own})" if own else str(refusal)) from None


def _fits(cell: str, config: DictConfig) -> bool:
    """Whether a configuration belongs to a cell such as `variant=A split=70`.

    Raises UserError for an unknown key.
    """
    for word in str(cell).split():
        key, _, wanted = word.partition("=")
        value = OmegaConf.select(config, key, default=UNKNOWN)
        if value is UNKNOWN or not wanted:
            raise UserError(
                f"launch.exclude: {word!r} is not key=value with a key of configs/config.yaml"
            )
        named = value.get("name") if isinstance(value, DictConfig) else value
        if ("null" if named is None else str(named)) != wanted:
            return False
    return True


def _returned(job: Sequence[Planned], value: float | None) -> JobReturn:
    return JobReturn(status=JobStatus.COMPLETED, _return_value=value, overrides=[job[0].spec.title])


def _objective(job: Sequence[Planned]) -> float | None:
    """The mean validation accuracy of a job's runs; None if a run did not finish."""
    records = [planned.folder.record() for planned in job]
    values = [float(record.value("valid_accuracy")) for record in records if record is not None]
    return sum(values) / len(values) if len(values) == len(job) else None


def _sweep(first: Planned, runs: Sequence[Asked]) -> Sweep:
    canary = first.launch.canary if first.launch.canary != "auto" else first.slurm is not None
    where: Any = {name: getattr(first, name) for name in ("runtime", "slots", "slurm")}
    return Sweep(
        name=first.sweep, runs=tuple(runs), canary=canary, fail_fast=first.launch.fail_fast, **where
    )


def _refuse_odd_cluster(sweep: Sweep) -> None:
    """Reject a profile that is invalid or requests more than the cluster has."""
    if sweep.slurm is not None:
        from birds.launch.slurm.limits import refuse_impossible

        refuse_impossible(_order(sweep).profile)


def _print_dry(planned: Sequence[Planned], runs: dict[str, RunSpec]) -> None:
    print(describe(planned))
    if planned[0].slurm is not None:
        from birds.launch.slurm.submit import scripts

        for text in scripts(_order(_sweep(planned[0], [])), runs):
            print(f"\n{text}")


def _announce(board: Board, runs_dir: Path, name: str) -> None:
    found = board.count(State.FINISHED)
    board.console.print(
        f"{len(board.runs)} runs: {found} already finished, {len(board.runs) - found} to do"
    )
    if found < len(board.runs):
        own = "" if name == LAST else f" {name}"
        watch = f"{birds_on(runs_dir)} watch{own}"
        board.console.print(f"To follow it in a browser: {watch}", soft_wrap=True)


def print_failures(board: Board, runs_dir: Path) -> None:
    """Print for each failed run the reason, the cure, and where the full message is."""
    for key, spec in board.runs.items():
        state, folder = board.states[key], RunFolder(runs_dir, key)
        if state not in (State.FAILED, State.BLOCKED, State.LOST, State.HELD):
            continue
        told = (folder.failure() or board.why.get(key) or "no message").strip().splitlines()
        shown = told[:2] + [line for line in told[2:][-TAIL_LINES:] if line]
        if state is State.BLOCKED:
            cause = root_cause(spec, board.states)
            shown = [not_started(cause) if cause else "not started: a run that it needs failed"]
        board.console.print(f"\n{key} {board.titles[key]} {state.value}:", style="bold red")
        board.console.print("\n".join(f"  {line}" for line in shown), markup=False, highlight=False)
        more = folder.failure_file if folder.failure_file.exists() else folder.log()
        if more is not None:
            board.console.print(f"  full message: {more}", soft_wrap=True)


def refuse_failures(board: Board) -> None:
    """Raise RunsFailed unless every run is finished."""
    if unfinished := len(board.runs) - board.count(State.FINISHED):
        count = len(board.runs)
        raise RunsFailed(
            f"{unfinished} of {count} runs did not finish; the same command runs only those again"
        )


def work_off(
    sweep: Sweep, board: Board, *, wait: bool, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Run what is not finished, on this machine or on the cluster of the sweep.

    On a cluster, `wait` says whether to wait for the end. `meanwhile` is called once while the
    cluster works.
    """
    assert sweep.runtime is not None
    if board.count(State.FINISHED) == len(board.runs):
        return
    if sweep.slurm is None:
        LocalSlots(
            sweep.runtime, sweep.slots, canary=sweep.canary, fail_fast=sweep.fail_fast
        ).work_off(board)
        return
    from birds.launch.slurm.limits import unshared
    from birds.launch.slurm.submit import submit
    from birds.launch.slurm.waiting import watch_jobs

    if words := unshared(sweep.runtime.runs_dir):
        board.console.print(f"careful: {words}")
    sent = submit(_order(sweep), board.runs)
    jobs = sum(len(submission.jobs) for submission in sent)
    board.console.print(
        f"{jobs} jobs submitted in {len(sent)} arrays; the sweep's name is {sweep.name}"
    )
    if not wait:
        board.console.print(
            f"Follow it with: birds status {sweep.name}   (see also logs, retry, cancel)"
        )
        return
    watch_jobs(sweep, board, sweep.runtime.runs_dir, meanwhile)


def _order(sweep: Sweep) -> Any:
    from birds.launch.slurm.profile import read_profile
    from birds.launch.slurm.submit import Order

    assert sweep.runtime is not None
    assert sweep.slurm is not None
    return Order(
        sweep.name, sweep.runtime, read_profile(sweep.slurm), sweep.canary, sweep.fail_fast
    )

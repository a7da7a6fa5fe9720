"""The staged launcher: each distinct pretraining once, then what needs it, on this machine or on a
SLURM cluster.

Here, each run is a process of its own (`birds.launch.local_workers`), started the moment a slot is
free and what it needs is finished. On a cluster, runs are arrays of jobs wired by what they need
(`birds.launch.slurm`). The truth about a run is its folder, never the process: a run whose process
died without a record failed.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from birds.core.errors import RunsFailed
from birds.core.spec import RunSpec, UserError
from birds.core.state import State, not_started, root_cause
from birds.core.store import RunFolder
from birds.core.sweep import LAST, Asked, Sweep, with_needs
from birds.launch.foretold import foretold
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
    """Plan every job, run what is not finished, print the table.

    Raises UserError before anything starts, RunsFailed when all is over and some failed (a search
    goes on instead).

    Args:
        compose: overrides -> the composed configuration.
        job_overrides: the overrides of each job of the sweep.
        load_table: imports and returns what prints the table of a sweep, given the runs folder, the
            sweep's name and the name to write it under.
        load_looks: imports and returns what looks at a sweep with `launch.until`.
    """
    asked = [(words, job) for words in job_overrides if (job := _planned(compose, words))]
    if not asked:
        raise UserError("launch.exclude leaves no run of this sweep")
    planned = [one for _, job in asked for one in job]
    first, runs = planned[0], with_needs([p.spec for p in planned])
    if first.average_over and not first.launch.wait:
        raise UserError(
            "a search learns from each trial before it asks the next: leave launch.wait=true"
        )
    for line in (*told_before(planned), *foretold(planned, runs)):
        print(line, file=sys.stderr)
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
    """Run what is not finished of these jobs, print the table; returns the sweep's name."""
    first = asked[0][1][0]
    runs = with_needs([planned.spec for _, job in asked for planned in job])
    listed = [Asked(key=p.spec.key, overrides=tuple(words)) for words, job in asked for p in job]
    sweep = _sweep(first, listed)
    _refuse_odd_cluster(sweep)
    searching = bool(first.average_over)
    with sweep.claimed(first.runtime.runs_dir, runs, beside_older=searching) as named:
        _work_and_tell(named, first, runs, load_table)
    return named.name


def _do_in_looks(asked: Sequence[AskedJob], looks: Looks, load_table: LoadTable) -> None:
    """Run the lowest seeds, look, and run more of the cells that need them (`launch.until`)."""
    first = asked[0][1][0]
    assert first.launch.until is not None
    goal, runs_dir, name = read_goal(first.launch.until), first.runtime.runs_dir, ""

    def still_open(seeds: int) -> frozenset[str]:
        found = looks.look(runs_dir, name, goal.points, goal.gap)
        print(f"Look at {seeds} seeds, launch.until={first.launch.until}:", *found.lines, sep="\n")
        return found.open_runs

    done: list[AskedJob] = []
    for done in rounds(asked, looks.numbers, still_open):
        name = _do(done, load_table)
    saved = len(asked) - len(done)
    if saved:
        print(f"Enough is known: {saved} of {len(asked)} runs that were asked for were not needed")
    else:
        print("\n".join(looks.look(runs_dir, name, goal.points, goal.gap).lines))


def _work_and_tell(
    sweep: Sweep, first: Planned, runs: dict[str, RunSpec], load_table: LoadTable
) -> None:
    """Run what is not finished; where that is waited for, print what failed and the table."""
    runs_dir = first.runtime.runs_dir
    board = Board(runs_dir, runs)
    _announce(board, sweep.shown_as(runs_dir))
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
    compose: Callable[[Sequence[str]], DictConfig], overrides: Sequence[str]
) -> list[Planned]:
    """The runs of one job: none when it is excluded, one, or in a search one for each seed to
    average over.
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
        raise UserError(f"{refusal} (asked by: {' '.join(overrides)})") from None


def _fits(cell: str, config: DictConfig) -> bool:
    """Whether a configuration lies in a cell such as `variant=A split=70`. Raises UserError for an
    unknown key.
    """
    for word in str(cell).split():
        key, _, wanted = word.partition("=")
        value = OmegaConf.select(config, key, default=UNKNOWN)
        if value is UNKNOWN or not wanted:
            raise UserError(
                f"launch.exclude: {word!r} is not key=value of a key in configs/config.yaml"
            )
        named = value.get("name") if isinstance(value, DictConfig) else value
        if ("null" if named is None else str(named)) != wanted:
            return False
    return True


def _returned(job: Sequence[Planned], value: float | None) -> JobReturn:
    return JobReturn(status=JobStatus.COMPLETED, _return_value=value, overrides=[job[0].spec.title])


def _objective(job: Sequence[Planned]) -> float | None:
    """The mean validation accuracy of a job's runs; None when one of them did not finish."""
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
    """Refuse a profile that is wrong in itself, or asks for more than the cluster has."""
    if sweep.slurm is not None:
        from birds.launch.slurm.limits import refuse_impossible

        refuse_impossible(_order(sweep).profile)


def _print_dry(planned: Sequence[Planned], runs: dict[str, RunSpec]) -> None:
    print(describe(planned))
    if planned[0].slurm is not None:
        from birds.launch.slurm.submit import scripts

        for text in scripts(_order(_sweep(planned[0], [])), runs):
            print(f"\n{text}")


def _announce(board: Board, name: str) -> None:
    found = board.count(State.FINISHED)
    board.console.print(
        f"{len(board.runs)} runs: {found} found finished, {len(board.runs) - found} to do"
    )
    if found < len(board.runs):
        own = "" if name == LAST else f" {name}"
        board.console.print(f"See it in a browser meanwhile: birds watch{own}", soft_wrap=True)


def print_failures(board: Board, runs_dir: Path) -> None:
    """Say of each run that failed why, what cures it, and where the rest is."""
    for key, spec in board.runs.items():
        state, folder = board.states[key], RunFolder(runs_dir, key)
        if state not in (State.FAILED, State.BLOCKED, State.LOST, State.HELD):
            continue
        told = (folder.failure() or board.why.get(key) or "it left no word").strip().splitlines()
        shown = told[:2] + [line for line in told[2:][-TAIL_LINES:] if line]
        if state is State.BLOCKED:
            cause = root_cause(spec, board.states)
            shown = [not_started(cause) if cause else "not started: what it needs failed"]
        board.console.print(f"\n{key} {board.titles[key]} {state.value}:", style="bold red")
        board.console.print("\n".join(f"  {line}" for line in shown), markup=False, highlight=False)
        more = folder.failure_file if folder.failure_file.exists() else folder.log()
        if more is not None:
            board.console.print(f"  the rest: {more}", soft_wrap=True)


def refuse_failures(board: Board) -> None:
    """Raise RunsFailed unless every run is finished."""
    if unfinished := len(board.runs) - board.count(State.FINISHED):
        count = len(board.runs)
        raise RunsFailed(
            f"{unfinished} of {count} runs did not finish; the same command does only those again"
        )


def work_off(
    sweep: Sweep, board: Board, *, wait: bool, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Run what is not finished, where the sweep says; on a cluster, `wait` says whether to return
    when it is over. `meanwhile` is called once while a cluster works.
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
            f"Look after it with: birds status {sweep.name}   (also logs, retry, cancel)"
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

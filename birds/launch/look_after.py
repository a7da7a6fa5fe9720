"""`birds status`, `retry`, `cancel`, `logs` and `doctor`: commands for a sweep that was started."""

import argparse
from collections import Counter
from typing import Any

from birds.core.spec import UserError
from birds.core.state import AGAIN, State
from birds.core.store import find_run
from birds.core.sweep import NEWEST, read_sweep


def add_commands(commands: Any) -> None:
    """Add these commands to the command line."""
    status = commands.add_parser("status", help="show the state and progress of every run")
    status.add_argument(
        "--watch", action="store_true", help="update the display until Ctrl-C or the end"
    )
    status.add_argument("--json", action="store_true", help="print JSON for other programs")
    retry = commands.add_parser("retry", help="run only the failed and lost runs of a sweep again")
    cancel = commands.add_parser(
        "cancel", help="cancel the queued and running SLURM jobs of a sweep"
    )
    for command, act in ((status, _status), (retry, _retry), (cancel, _cancel)):
        command.set_defaults(act=act)
        command.add_argument(
            "sweep", nargs="?", default=NEWEST, help="its name (default: the newest)"
        )
    logs = commands.add_parser("logs", help="print the newest log of a run")
    logs.add_argument("run", help="the beginning of its key")
    logs.add_argument("--lines", type=int, default=0, help="print only this many last lines")
    logs.set_defaults(act=_logs)
    doctor = commands.add_parser(
        "doctor", help="check this machine and its SLURM cluster, and list what will fail"
    )
    doctor.add_argument("name", nargs="?", help="a profile in slurm/ to check against the cluster")
    doctor.add_argument(
        "--write", metavar="NAME", help="write a first profile for this cluster: slurm/NAME.yaml"
    )
    doctor.set_defaults(act=_doctor)


def _status(args: argparse.Namespace) -> None:
    from birds.launch.slurm.status import as_json, sweep_status

    sweep = read_sweep(args.runs_dir, args.sweep)
    runs = sweep.specs(args.runs_dir)
    if args.json:
        print(as_json(sweep_status(args.runs_dir, sweep.name, runs)))
    elif args.watch:
        from birds.launch.progress import Board
        from birds.launch.slurm.waiting import watch_jobs

        watch_jobs(sweep, Board(args.runs_dir, runs), args.runs_dir)
    else:
        _print(sweep_status(args.runs_dir, sweep.name, runs), args.sweep)


def _print(found: list[Any], sweep: str) -> None:
    """Print one line for each run, in fixed columns for grep, then the number in each state.

    The log of a finished run is left out: `birds logs` finds it.
    """
    for one in found:
        log = "" if one.state is State.FINISHED else one.log
        far = f"epoch {one.epoch}/{one.epochs}" if one.epoch is not None else ""
        left = f"{one.seconds_left:.0f} s left" if one.seconds_left is not None else ""
        words = "  ".join(
            filter(None, (far, left, one.why, one.node, one.job and f"job {one.job}", log))
        )
        print(f"{one.key}  {one.title:32}  {one.state.value:8}  {words}".rstrip())
    counts = Counter(one.state for one in found)
    told = (f"{counts[state]} {state.value}" for state in State if counts[state])
    print(f"{sweep}: {', '.join(told)}")


def _retry(args: argparse.Namespace) -> None:
    from birds.launch.launcher import print_failures, refuse_failures, work_off
    from birds.launch.progress import Board
    from birds.launch.slurm.status import sweep_status

    sweep = read_sweep(args.runs_dir, args.sweep)
    runs = sweep.specs(args.runs_dir)
    if sweep.runtime is None:
        raise UserError(
            f"the sweep {args.sweep} was written by another version; start it again with train.py"
        )
    statuses = sweep_status(args.runs_dir, sweep.name, runs)
    chosen = [status.key for status in statuses if status.state in AGAIN]
    if not chosen:
        print(f"{args.sweep}: no run failed or was lost")
        return
    wanted = {run.key for key in chosen for run in runs[key].lineage()}
    board = Board(args.runs_dir, {key: spec for key, spec in runs.items() if key in wanted})
    work_off(sweep, board, wait=sweep.slurm is None)
    if sweep.slurm is None:
        print_failures(board, args.runs_dir)
        refuse_failures(board)


def _cancel(args: argparse.Namespace) -> None:
    from birds.launch.slurm.client import cancel
    from birds.launch.slurm.submissions import settled, submitting

    sweep = read_sweep(args.runs_dir, args.sweep)
    with submitting(args.runs_dir):
        living = [(s, own) for s, own in settled(args.runs_dir) if s.sweep == sweep.name]
        for submission, _ in living:
            submission.but(cancelled=True).save()  # first, so that no job goes back into the queue
        cancel([str(submission.job_id) for submission, _ in living])
    print(
        f"{args.sweep}: {sum(len(own) for _, own in living)} jobs cancelled; finished runs are kept"
    )


def _logs(args: argparse.Namespace) -> None:
    folder = find_run(args.runs_dir, args.run)
    log = folder.log()
    if log is None:
        raise UserError(f"run {folder.key} has no log: it was never started as a job")
    lines = log.read_text(errors="replace").splitlines()
    print("\n".join([f"==> {log} <==", *lines[-args.lines :]]))


def _doctor(args: argparse.Namespace) -> None:
    from birds.core.broken_pair import examine_pair
    from birds.launch.slurm.doctor import examine, write_profile

    if args.write:
        print(
            f"Written: {write_profile(args.write)}; check it, then run: python train.py -m "
            f"slurm={args.write} ..."
        )
    pair, fits = examine_pair()
    print(f"{'ok    ' if fits else 'wrong '} {pair}", flush=True)
    lines, wrong = examine(args.name, args.runs_dir)
    print("\n".join(lines))
    wrong += not fits
    if wrong:
        raise UserError(f"{wrong} of these will fail")

"""`birds wandb sync` sends offline runs to W&B; `birds wandb dashboard` defines views in code."""

import argparse
import sys
from collections import Counter
from typing import Any

from birds.core.errors import RunsFailed
from birds.core.spec import UserError
from birds.core.sweep import NEWEST, read_sweep

LOG_IN = "run `wandb login`, or set WANDB_API_KEY (and WANDB_BASE_URL for a server of your own)"


def add_command(commands: Any) -> None:
    """Add `wandb` to what `add_subparsers()` returned."""
    what = commands.add_parser(
        "wandb", help="send offline runs to W&B; write dashboards"
    ).add_subparsers(required=True)
    sync = what.add_parser(
        "sync", help="send runs that were tracked offline; run it again to resume"
    )
    dashboard = what.add_parser(
        "dashboard", help="write views and a report of a sweep; offline, as a JSON file"
    )
    for command, act, default in ((sync, _sync, None), (dashboard, _dashboard, NEWEST)):
        command.add_argument(
            "sweep",
            nargs="?",
            default=default,
            help=f"its name (default: {'every run' if default is None else 'the newest'})",
        )
        command.add_argument("--entity", help="the W&B user or team (default: yours)")
        command.add_argument(
            "--project", help="the W&B project (default: the project of the runs, birds)"
        )
        command.set_defaults(act=act)


def _sync(args: argparse.Namespace) -> None:
    keys = read_sweep(args.runs_dir, args.sweep).specs(args.runs_dir) if args.sweep else None
    from birds.use.wandb_sync.send import log_in, send, tracked_runs

    runs = tracked_runs(args.runs_dir, keys)
    if not runs:
        raise UserError(
            f"{args.sweep or args.runs_dir} has no run that was tracked offline: train with "
            "tracking=offline, the default"
        )
    account = log_in(args.entity, args.project)
    if account is None:
        raise UserError(f"{len(runs)} runs to send, but there is no W&B key: {LOG_IN}")
    came: Counter[str] = Counter()
    for key, what, *why in send(args.runs_dir, runs, account, _say):
        came[what] += 1
        if why:
            _say(f"{key} {what}: {', '.join(why)}")
    print(
        f"{account.url}/{account.entity}: "
        + ", ".join(f"{count} {what}" for what, count in came.items())
    )
    if came["failed"]:
        raise RunsFailed(
            f"{came['failed']} runs are incomplete on W&B: run the same command again to send the "
            "rest"
        )


def _say(words: str) -> None:
    print(f"wandb: {words}", file=sys.stderr, flush=True)


def _dashboard(args: argparse.Namespace) -> None:
    specs = read_sweep(args.runs_dir, args.sweep).specs(args.runs_dir)
    from birds.use.wandb_sync.log import names_in, read_log
    from birds.use.wandb_sync.send import log_in, tracked_runs
    from birds.use.wandb_sync.views import views, write_views

    logged: dict[str, set[str]] = {}
    for run in tracked_runs(args.runs_dir, None):
        if run.name in specs or run.stage == "table":
            logged.setdefault(run.stage, set()).update(
                *(names_in(read_log(path)) for path in run.attempts)
            )
    if not logged.keys() - {"table"}:
        raise UserError(
            f"no run of {args.sweep} was tracked offline: train with tracking=offline, the default"
        )
    account = log_in(args.entity, args.project)
    where = {
        "entity": account.entity if account else args.entity or "",
        "project": args.project or "birds",
    }
    splits = sorted({spec.split for spec in specs.values()})
    file = args.runs_dir / "wandb" / f"{args.sweep}.json"
    save = "/".join([account.url, *where.values()]) if account else None
    write_views(file, views(args.sweep, list(specs), splits, logged, where), save=save)
    print(
        f"Written: {file}"
        if save
        else f"Written: {file}. To save it on W&B, {LOG_IN}, then run this command again"
    )

"""`birds wandb sync` and `birds wandb dashboard`: what was tracked offline goes to W&B, and views of it as code."""

import argparse
import sys
from collections import Counter
from typing import Any

from birds.refusals import RunsFailed
from birds.spec import Refused
from birds.sweep import read_sweep

LOG_IN = "run `wandb login`, or set WANDB_API_KEY (and WANDB_BASE_URL for a server of your own)"


def add_command(commands: Any) -> None:
    """Add `wandb` to what `add_subparsers()` returned."""
    what = commands.add_parser("wandb", help="send offline runs to W&B; dashboards as code").add_subparsers(
        required=True, metavar="WHAT"
    )
    sync = what.add_parser("sync", help="send what was tracked offline; killed and asked again, it goes on")
    sync.add_argument("sweep", nargs="?", help="its name, such as exp1 (default: every run)")
    sync.set_defaults(act=_sync)
    dashboard = what.add_parser("dashboard", help="views and a report of a sweep; offline, as a file of JSON")
    dashboard.add_argument("sweep", nargs="?", default="last", help="its name, such as exp1 (default: the last one)")
    dashboard.set_defaults(act=_dashboard)
    for command in (sync, dashboard):
        command.add_argument("--entity", help="the W&B user or team (default: yours)")
        command.add_argument("--project", help="the W&B project (default: the one the runs name, birds)")


def _sync(args: argparse.Namespace) -> None:
    keys = read_sweep(args.runs_dir, args.sweep).specs(args.runs_dir) if args.sweep else None
    from birds.tracked.send import log_in, send, tracked_runs

    runs = tracked_runs(args.runs_dir, keys)
    if not runs:
        of = f"the sweep {args.sweep!r} has" if args.sweep else f"{args.runs_dir} holds"
        raise Refused(f"{of} no runs that were tracked offline: train with tracking=offline, which is the default")
    account = log_in(args.entity, args.project)
    if account is None:
        raise Refused(f"{len(runs)} runs to send, but no W&B key: {LOG_IN}")
    came: Counter[str] = Counter()
    for key, what, *why in send(args.runs_dir, runs, account, _say):
        came[what] += 1
        if why:
            _say(f"{key} {what}: {', '.join(why)}")
    print(f"{account.url}/{account.entity}: " + ", ".join(f"{count} {what}" for what, count in came.items()))
    if came["failed"]:
        raise RunsFailed(f"{came['failed']} runs are not whole on W&B: the same command sends what they lack")


def _say(words: str) -> None:
    print(f"wandb: {words}", file=sys.stderr, flush=True)


def _dashboard(args: argparse.Namespace) -> None:
    specs = read_sweep(args.runs_dir, args.sweep).specs(args.runs_dir)
    from birds.tracked.log import names_in, read_log
    from birds.tracked.send import log_in, tracked_runs
    from birds.tracked.views import views, write_views

    logged: dict[str, set[str]] = {}
    runs = [run for run in tracked_runs(args.runs_dir, None) if run.name in specs or run.stage == "table"]
    for run in runs:
        logged.setdefault(run.stage, set()).update(*(names_in(read_log(path)) for path in run.attempts))
    if not logged.keys() & {"classify", "pretrain"}:
        raise Refused(f"nothing of the sweep {args.sweep!r} was tracked: train with tracking=offline, the default")
    account = log_in(args.entity, args.project)
    entity, project = account.entity if account else args.entity or "", args.project or runs[0].project
    file = args.runs_dir / "wandb" / f"{args.sweep}.json"
    splits = sorted({spec.split for spec in specs.values()})
    made = views(args.sweep, list(specs), splits, logged, {"entity": entity, "project": project})
    write_views(file, made, save=f"{account.url}/{entity}/{project}" if account else None)
    print(f"Written: {file}" if account else f"Written: {file}. To save it on W&B, {LOG_IN}, and ask again")

"""`birds latency SWEEP`: compare the speed of a sweep's quantized models with the fastest fp32.

Every model is timed in every round, in random order, on pinned cores. PyTorch eager,
torch.compile and the runtime's own fp32 are timed with it. One model is timed twice under two
names: if the interval of that ratio does not contain 1, the machine is too noisy for a ranking.
Rows are added to RUNS_DIR/latency.jsonl; `birds table latency` prints them again.
"""

import argparse
import json
import sys
from itertools import product
from typing import Any

from birds.core.spec import UserError
from birds.core.store import RunFolder
from birds.core.sweep import NEWEST


def add_command(commands: Any) -> None:
    """Add `latency` to what `add_subparsers()` returned."""
    add = commands.add_parser(
        "latency",
        help="measure the speed of a sweep's quantized models against fp32, with intervals",
        description=__doc__,
    )
    option = add.add_argument
    option("sweep", nargs="?", default=NEWEST, help="its name, such as exp1 (default: the newest)")
    option("--batches", default="1,8,32", help="batch sizes in images (default: 1,8,32)")
    option("--threads", default="1,all", help="numbers of threads, or all (default: 1,all)")
    option("--rounds", type=int, default=31, help="minimum number of rounds (default: 31)")
    option("--seconds", type=float, default=20.0, help="add rounds for this long (default: 20)")
    option(
        "--tracking",
        choices=("offline", "online", "none"),
        default="none",
        help="log the rows to W&B",
    )
    add.set_defaults(act=_latency)


def _latency(args: argparse.Namespace) -> None:
    from analysis.frame import sweep_keys

    keys = sweep_keys(args.runs_dir, args.sweep)
    batches = parsed_numbers("batches", args.batches)
    refuse_too_little(args.rounds, args.seconds)
    from analysis.latency_report import print_latency_table
    from birds.use.latency.entries import CUDA
    from birds.use.latency.host import this_host
    from birds.use.quantize.models import warn_without_int8

    host = this_host()
    threads = parsed_numbers("threads", args.threads, host["cores"])
    folders, footprints = _with_models([RunFolder(args.runs_dir, key) for key in keys], args.sweep)
    warn_without_int8()
    rows = []
    for device, number, batch in [
        *product(["cpu"], threads, batches),
        *product([CUDA] * bool(host["gpu"]), [1], batches),
    ]:
        cell = {"device": device, "threads": number, "batch": batch}
        rows += _race(args, folders, footprints, cell, host)
    _show_on_wandb(rows, args)
    print_latency_table(args.runs_dir)


def _race(
    args: argparse.Namespace,
    folders: list[RunFolder],
    footprints: dict[tuple[str, str], Any],
    cell: dict[str, Any],
    host: dict[str, Any],
) -> list[dict[str, Any]]:
    """Time all models of all runs in one cell (device, threads, batch); append and return rows."""
    from analysis.latency import append_rows, cell_title
    from birds.use.latency.entries import entries
    from birds.use.latency.footprint import UNKNOWN
    from birds.use.latency.measure import raced_rows

    runs = [entries(folder, cell["device"]) for folder in folders]
    title = cell_title(**cell)
    raced = raced_rows(runs, cell, title, rounds=args.rounds, seconds=args.seconds, say=_say)
    rows = []
    for row in raced:
        known = footprints.get((row["key"], row["model"]), UNKNOWN)
        rows.append({"sweep": args.sweep} | host | row | known)
    append_rows(args.runs_dir, rows)
    return rows


def parsed_numbers(option: str, text: str, cores: int | None = None) -> tuple[int, ...]:
    """The distinct numbers in a text such as `1,8,32`. With `cores`, `all` means that number.

    Raises UserError when a number is not positive or exceeds `cores`.
    """
    found = []
    for word in (word.strip() for word in text.split(",")):
        number = int(word) if word.isdecimal() else 0
        if cores and word == "all":
            number = cores
        if not 1 <= number <= (cores or number):
            allowed = "1 or more"
            if cores:
                allowed = f"1 to {cores} or all, since this process may use {cores} cores"
            raise UserError(
                f"--{option} {text}: {word!r} is not allowed; choose {allowed}, separated by commas"
            )
        found.append(number)
    return tuple(dict.fromkeys(found))


def refuse_too_little(rounds: int, seconds: float) -> None:
    """Raise UserError for too few rounds for an interval, or for a negative or infinite time."""
    from birds.use.latency.statistics import MINIMUM_ROUNDS

    if rounds < MINIMUM_ROUNDS:
        raise UserError(
            f"--rounds {rounds}: too few for an interval; choose {MINIMUM_ROUNDS} or more"
        )
    if not 0 <= seconds < float("inf"):
        raise UserError(f"--seconds {seconds:g}: choose 0 or more; 0 means exactly --rounds rounds")


def _with_models(
    folders: list[RunFolder], sweep: str
) -> tuple[list[RunFolder], dict[tuple[str, str], Any]]:
    """The runs with quantized models, and the footprint of each model that is a file of its own."""
    from birds.use.latency.entries import COMPILED, entries
    from birds.use.latency.footprint import footprint

    found = {folder: own for folder in folders if (own := entries(folder))}
    if not found:
        _refuse_without_network(folders)
        raise UserError(
            f"no run of the sweep {sweep!r} has a quantized model yet; make them with: "
            f"birds quantize {sweep}"
        )
    _say("measuring size, load time and memory, each in new processes")
    footprints = {}
    for folder, own in found.items():
        for entry in own:
            if entry.name != COMPILED:
                place = folder.path.parent
                footprints[folder.key, entry.name] = footprint(place, folder.key, entry.name)
    return list(found), footprints


def _refuse_without_network(folders: list[RunFolder]) -> None:
    """Raise UserError if no finished run of a sweep has a network that can be quantized."""
    from birds.use.networks import has_network, load_network

    finished = [folder for folder in folders if folder.record() is not None]
    if finished and not any(has_network(folder) for folder in finished):
        load_network(finished[0])


def _show_on_wandb(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    import pandas as pd

    from birds.train import tracking

    plain = []
    for row in rows:
        plain.append(
            {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()}
        )
    tracking.log_table("latency", pd.DataFrame(plain), args.tracking, args.runs_dir)


def _say(words: str) -> None:
    print(f"latency: {words}", file=sys.stderr, flush=True)

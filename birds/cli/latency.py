"""`birds latency SWEEP`: how fast the quantized models of a sweep are, against the best that fp32
can do.

Every model is timed in every round, in random order, on pinned cores, beside PyTorch eager,
torch.compile and the runtime's own fp32. One model is timed twice under two names: if its own
interval does not cover 1, the machine is too noisy to rank anything. Rows go to
RUNS_DIR/latency.jsonl; `birds table latency` prints them again.
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
        help="time a sweep's quantized models against fp32, with intervals",
        description=__doc__,
    )
    option = add.add_argument
    option("sweep", nargs="?", default=NEWEST, help="its name, such as exp1 (default: the newest)")
    option("--batches", default="1,8,32", help="images a call (default: 1,8,32)")
    option("--threads", default="1,all", help="numbers of threads, or all (default: 1,all)")
    option("--rounds", type=int, default=31, help="rounds at least (default: 31)")
    option(
        "--seconds", type=float, default=20.0, help="more rounds until this is spent (default: 20)"
    )
    option(
        "--tracking",
        choices=("offline", "online", "none"),
        default="none",
        help="show the rows on W&B",
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
    """Race all models of all runs in one cell; append and return their rows."""
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
    """Numbers from `1,8,32`, each once; where `cores` bounds them, `all` is that many.

    Raises UserError when one is not positive, or too large.
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
                f"--{option} {text}: {word!r} cannot be; choose {allowed}, with commas between"
            )
        found.append(number)
    return tuple(dict.fromkeys(found))


def refuse_too_little(rounds: int, seconds: float) -> None:
    """Raise UserError when so few rounds cannot carry an interval, or the time is not positive."""
    from birds.use.latency.statistics import MINIMUM_ROUNDS

    if rounds < MINIMUM_ROUNDS:
        raise UserError(
            f"--rounds {rounds}: so few cannot carry an interval; choose {MINIMUM_ROUNDS} or more"
        )
    if not 0 <= seconds < float("inf"):
        raise UserError(f"--seconds {seconds:g}: choose 0 (no more rounds than --rounds) or more")


def _with_models(
    folders: list[RunFolder], sweep: str
) -> tuple[list[RunFolder], dict[tuple[str, str], Any]]:
    """The runs that have quantized models, and the footprint of each model that can be opened from
    its file alone.
    """
    from birds.use.latency.entries import COMPILED, entries
    from birds.use.latency.footprint import footprint

    found = {folder: own for folder in folders if (own := entries(folder))}
    if not found:
        _refuse_without_network(folders)
        raise UserError(
            f"no run of the sweep {sweep!r} has a quantized model yet; make some first: "
            f"birds quantize {sweep}"
        )
    _say("size, load time and memory, each in fresh processes")
    footprints = {}
    for folder, own in found.items():
        for entry in own:
            if entry.name != COMPILED:
                place = folder.path.parent
                footprints[folder.key, entry.name] = footprint(place, folder.key, entry.name)
    return list(found), footprints


def _refuse_without_network(folders: list[RunFolder]) -> None:
    """Raise UserError where no finished run of a sweep could ever be quantized."""
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

"""`birds latency SWEEP`: how fast the quantized models of a sweep are, against the best that fp32 can do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from birds.spec import Refused

if TYPE_CHECKING:
    from birds.latency.entries import Runner
    from birds.latency.footprint import Footprint

EPILOG = """\
Every model is timed in every round, in random order, on pinned cores, beside PyTorch eager, torch.compile and the
runtime's own fp32. One model is timed twice under two names: if its own interval does not cover 1, the machine is
too noisy to rank anything. Rows go to RUNS_DIR/latency.jsonl; `birds table latency` prints them again."""


def add_command(commands: Any) -> None:
    """Add `latency` to what `add_subparsers()` returned."""
    command = commands.add_parser(
        "latency",
        help="time a sweep's quantized models against fp32, with intervals",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("sweep", nargs="?", default="last", help="its name, such as exp1 (default: the last one)")
    command.add_argument("--batches", default="1,8,32", help="photos a call (default: 1,8,32)")
    command.add_argument("--threads", default="1,all", help="numbers of threads, or all (default: 1,all)")
    command.add_argument("--rounds", type=int, default=41, help="rounds at least (default: 41)")
    command.add_argument("--seconds", type=float, default=20.0, help="more rounds until this is spent (default: 20)")
    command.add_argument(
        "--tracking", choices=("offline", "online", "none"), default="none", help="show the rows on W&B"
    )
    command.set_defaults(act=_latency)


def _latency(args: argparse.Namespace) -> None:
    from analysis.frame import sweep_keys

    keys = sweep_keys(args.runs_dir, args.sweep)
    batches = parsed_batches(args.batches)
    refuse_too_little(args.rounds, args.seconds)
    from analysis.latency import print_latency_table
    from birds.latency.host import this_host
    from birds.latency.measure import Plan, cells_rows
    from birds.latency.rows import append_rows

    host = this_host()
    threads = parsed_threads(args.threads, host.cores)
    runners = _runners(args.runs_dir, keys, args.sweep)
    if host.instruction_sets and not host.int8:
        _say(f"{host.cpu} has no instructions for int8 products: no speed is to be expected of int8 models")
    footprints = _footprints(args.runs_dir, runners)
    rows = []
    for found in cells_rows(runners, Plan(batches, threads, args.rounds, args.seconds), host, footprints, _say):
        named = [{"sweep": args.sweep} | row for row in found]
        append_rows(args.runs_dir, named)
        rows += named
    if args.tracking != "none":
        _show_on_wandb(rows, args.tracking, args.runs_dir)
    print_latency_table(args.runs_dir)


def parsed_batches(text: str) -> tuple[int, ...]:
    """Batch sizes from `1,8,32`, each once. Raises Refused when one is not a positive number."""
    found = []
    for word in text.split(","):
        if not word.strip().isdecimal() or int(word) < 1:
            raise Refused(f"--batches {text}: {word.strip()!r} is no number of photos; choose 1 or more, as in 1,8,32")
        found.append(int(word))
    return tuple(dict.fromkeys(found))


def parsed_threads(text: str, cores: int) -> tuple[int, ...]:
    """Numbers of threads from `1,all`, each once. Raises Refused when one is not positive or more than `cores`."""
    found = []
    for word in text.split(","):
        number = cores if word.strip() == "all" else int(word) if word.strip().isdecimal() else 0
        if number < 1:
            raise Refused(f"--threads {text}: {word.strip()!r} is no number of threads; choose 1 to {cores} or all")
        if number > cores:
            raise Refused(
                f"--threads {text}: this process may use {cores} cores, not {number}; choose 1 to {cores} or all"
            )
        found.append(number)
    return tuple(dict.fromkeys(found))


def refuse_too_little(rounds: int, seconds: float) -> None:
    """Raise Refused when so few rounds cannot carry an interval, or the time is not positive."""
    from birds.latency.statistics import MINIMUM_ROUNDS

    if rounds < MINIMUM_ROUNDS:
        raise Refused(f"--rounds {rounds}: so few cannot carry an interval; choose {MINIMUM_ROUNDS} or more")
    if not 0 <= seconds < float("inf"):
        raise Refused(f"--seconds {seconds:g}: choose 0 (no more rounds than --rounds) or more")


def _runners(runs_dir: Path, keys: list[str], sweep: str) -> list[Runner]:
    from birds.latency.entries import runner
    from birds.store import RunFolder

    found = [one for key in keys if (one := runner(RunFolder(runs_dir, key))) is not None]
    if not found:
        raise Refused(
            f"no run of the sweep {sweep!r} has a quantized model yet; make some first: birds quantize {sweep}"
        )
    return found


def _footprints(runs_dir: Path, runners: list[Runner]) -> dict[tuple[str, str], Footprint]:
    """Of every model that can be opened from its file alone; torch.compile has none of its own."""
    from birds.latency.entries import COMPILED
    from birds.latency.footprint import footprint

    _say("size, load time and memory, each in fresh processes")
    return {
        (entry.key, entry.name): footprint(runs_dir, entry.key, entry.name)
        for one in runners
        for entry in one.entries
        if entry.name != COMPILED
    }


def _show_on_wandb(rows: list[dict[str, Any]], mode: Literal["offline", "online"], runs_dir: Path) -> None:
    import json

    import pandas as pd

    from birds import tracking

    plain = [{k: json.dumps(v) if isinstance(v, dict | list | tuple) else v for k, v in row.items()} for row in rows]
    tracking.log_table("latency", pd.DataFrame(plain), mode, runs_dir)


def _say(words: str) -> None:
    print(f"latency: {words}", file=sys.stderr, flush=True)

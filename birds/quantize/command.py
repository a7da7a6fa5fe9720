"""`birds quantize`: the best models of a sweep as files, float and int8, with what that costs in accuracy."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from birds.quantize.models import BACKENDS, warn_without_int8
from birds.store import RunFolder, find_run


def add_command(commands: Any) -> None:
    """Add `quantize` to what argparse's `add_subparsers` returned."""
    words = "export a sweep's best models to ONNX, make int8 twins, measure what they lose"
    add = commands.add_parser("quantize", help=words)
    option = add.add_argument
    option("sweep", nargs="?", default="last", help="its name, such as exp1 (default: the last one)")
    option("--runs", nargs="+", metavar="KEY", help="these runs instead of the sweep's best")
    option("--best", type=int, default=3, help="how many distinct models (default: 3)")
    option("--by", default="valid_accuracy", help="validation metric that ranks them (default: valid_accuracy)")
    option("--backend", choices=BACKENDS, default=BACKENDS[0], help=f"default: {BACKENDS[0]}")
    option("--calibration", type=int, default=256, help="unlabelled photos that set the ranges (default: 256)")
    option("--data-root", type=Path, help="where the photos lie, if not where they lay in training")
    option("--cache-dir", type=Path, help="where decoded photos lie (default: RUNS_DIR/cache)")
    add.set_defaults(act=quantize_sweep)


def quantize_sweep(args: argparse.Namespace) -> None:
    """Make the models and print their table. Raises Refused for what a person can cure, before any work is done."""
    folders = _chosen(args)
    from birds.quantize.make import check_all, quantize_run
    from birds.quantize.photos import Order
    from birds.quantize.tables import models_table, notes

    order = Order(args.backend, args.calibration, args.data_root, args.cache_dir)
    check_all(folders, order)
    warn_without_int8()
    models = []
    for folder in folders:
        say = partial(print, f"{folder.key}:", file=sys.stderr, flush=True)
        models += quantize_run(folder, order, say)
    print(f"\n{models_table(models)}\n\n{notes(models)}")
    print(f"Written: {args.runs_dir}/<key>/models/ of {', '.join(folder.key for folder in folders)}")


def _chosen(args: argparse.Namespace) -> list[RunFolder]:
    if args.runs:
        return list({folder.key: folder for folder in (find_run(args.runs_dir, key) for key in args.runs)}.values())
    from birds.quantize.rank import best_runs

    return best_runs(args.runs_dir, args.sweep, best=args.best, by=args.by)

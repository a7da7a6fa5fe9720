"""`birds table SWEEP`: print a sweep's results and write them to files."""

import argparse
from pathlib import Path
from typing import Any

from birds.core.sweep import NEWEST


def add_command(commands: Any) -> None:
    """Add `table` to what `add_subparsers()` returned."""
    table = commands.add_parser(
        "table", help="print a sweep's result table, write it as Markdown, CSV and LaTeX"
    )
    table.add_argument(
        "sweep",
        nargs="?",
        default=NEWEST,
        help="such as exp1, search, or latency (default: the newest)",
    )
    table.add_argument(
        "--details",
        action="store_true",
        help="add every column, comparisons with p values and effect sizes, results under noise",
    )
    table.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write one overall table (.xlsx, .csv, .md): accuracies, choices, parameters, seconds",
    )
    table.set_defaults(act=_table)


def _table(args: argparse.Namespace) -> None:
    if args.out is not None:
        return _overall(args)
    if args.sweep == "latency":
        from analysis.latency_report import print_latency_table

        return print_latency_table(args.runs_dir)
    from birds.launch.search import print_trials, study_file
    from birds.launch.tuned import tuning_file

    if study_file(args.runs_dir, args.sweep).exists():
        return print_trials(args.runs_dir, args.sweep)
    from analysis.answer import print_answer

    print_answer(args.runs_dir, args.sweep, details=args.details)
    if tuning_file(args.runs_dir, args.sweep).exists():
        from analysis.tuned import print_tuned

        print_tuned(args.runs_dir, args.sweep)


def _overall(args: argparse.Namespace) -> None:
    from analysis.overall import write_overall

    for sentence in write_overall(args.runs_dir, args.sweep, args.out):
        print(sentence)
    print(f"Written: {args.out}")

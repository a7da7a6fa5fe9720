"""`birds report SWEEP...`: the article, from LaTeX templates without a number and the records that
fill them.
"""

import argparse
from pathlib import Path
from typing import Any


def add_command(commands: Any) -> None:
    """Add `report` to what `add_subparsers()` returned."""
    add = commands.add_parser(
        "report", help="write the article of one or two sweeps as LaTeX and PDF, or check it"
    )
    option = add.add_argument
    option(
        "sweeps",
        nargs="*",
        default=["exp1"],
        metavar="SWEEP",
        help="such as exp1 exp2 (default: exp1)",
    )
    option(
        "--language", choices=("es", "en"), default="es", help="Spanish or English (default: es)"
    )
    option(
        "--out",
        type=Path,
        default=Path("analysis/report"),
        help="the folder for it (default: analysis/report)",
    )
    option(
        "--check",
        action="store_true",
        help="fail, with its name, on a number that the records do not give",
    )
    add.set_defaults(act=_report)


def _report(args: argparse.Namespace) -> None:
    from analysis.report.article import check_article, write_article

    if args.check:
        check_article(args.out, args.runs_dir)
    else:
        write_article(args.out, args.runs_dir, args.sweeps, args.language)

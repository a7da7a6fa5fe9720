"""`birds figures SWEEP`: draw every figure for which a sweep has records."""

import argparse
from pathlib import Path
from typing import Any

from birds.core.sweep import NEWEST


def add_command(commands: Any) -> None:
    """Add `figures` to what `add_subparsers()` returned."""
    figures = commands.add_parser("figures", help="draw the figures of a sweep as PNG, PDF and SVG")
    figures.add_argument(
        "sweep", nargs="?", default=NEWEST, help="its name, such as exp1 (default: the newest)"
    )
    figures.add_argument("--out", type=Path, help="output folder (default: RUNS_DIR/figures/SWEEP)")
    figures.set_defaults(act=_figures)


def _figures(args: argparse.Namespace) -> None:
    from analysis.figures import write_figures

    write_figures(args.runs_dir, args.sweep, args.out)

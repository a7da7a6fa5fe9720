"""`birds seeds`: which seeds a sweep needs next for intervals of a given width that stay valid."""

import argparse
import re
from typing import Any

from birds.core.spec import UserError
from birds.core.sweep import NEWEST


def add_command(commands: Any) -> None:
    """Add `birds seeds` to the command line."""
    seeds = commands.add_parser(
        "seeds", help="show which seeds a sweep needs next, and the command to run them"
    )
    seeds.add_argument("sweep", nargs="?", default=NEWEST, help="its name (default: the newest)")
    seeds.add_argument(
        "--until",
        default="ci=2",
        help="the wanted half-width of the intervals: ci=2 means plus or minus 2 points (default)",
    )
    seeds.set_defaults(act=_seeds)


def _seeds(args: argparse.Namespace) -> None:
    from analysis.seeds import next_seeds

    wanted = re.fullmatch(r"ci=(\d+(?:\.\d+)?)", args.until)
    if wanted is None or float(wanted[1]) == 0:
        raise UserError(f"--until {args.until}: choose ci=POINTS above 0, as in --until ci=2")
    print(next_seeds(args.runs_dir, args.sweep, float(wanted[1])))

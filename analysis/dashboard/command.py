"""`birds dashboard` writes a sweep as a page; `birds watch` serves that page while the sweep
runs.
"""

import argparse
from pathlib import Path
from typing import Any

from birds.core.errors import refuse_odd_file
from birds.core.sweep import NEWEST


def add_commands(commands: Any) -> None:
    """Add both to what `add_subparsers()` returned."""
    dashboard = commands.add_parser(
        "dashboard", help="write a sweep as one HTML page that works without a network"
    )
    dashboard.add_argument(
        "--out", type=Path, help="the file to write (default: RUNS_DIR/dashboard/SWEEP.html)"
    )
    dashboard.set_defaults(act=_dashboard)
    watch = commands.add_parser(
        "watch", help="serve that page on this machine while the sweep runs, until Ctrl-C"
    )
    watch.add_argument("--port", type=int, default=8517, help="0: any free port (default: 8517)")
    watch.add_argument(
        "--host",
        metavar="HOST:PORT",
        help="another address of the page, for example of a tunnel (localhost:9000)",
    )
    watch.set_defaults(act=_watch)
    for command in (dashboard, watch):
        command.add_argument(
            "sweep", nargs="?", default=NEWEST, help="its name (default: the newest)"
        )


def _dashboard(args: argparse.Namespace) -> None:
    from analysis.dashboard.page import write_page

    if args.out is not None:
        refuse_odd_file(args.out, (".html", ".htm"))
    print(f"Written: {write_page(args.runs_dir, args.sweep, args.out)}")


def _watch(args: argparse.Namespace) -> None:
    from analysis.dashboard.watch import serve

    serve(args.runs_dir, args.sweep, args.port, args.host)

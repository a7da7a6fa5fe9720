"""`birds study SWEEP ...`: describe the parts, curves, errors and layers of a sweep in sentences,
tables and figures.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birds.core.store import RunFolder, find_run
from birds.core.sweep import newest_sweep

if TYPE_CHECKING:
    import pandas as pd

MOST_RUNS = 6  # runs whose layers are explored when none is named


def add_command(commands: Any) -> None:
    """Add `study` to what `add_subparsers()` returned."""
    words = "describe a sweep's parts, curves, errors and layers in sentences, tables, figures"
    add = commands.add_parser("study", help=words)
    option = add.add_argument
    option("sweeps", nargs="*", metavar="SWEEP", help="such as mnist (default: the newest)")
    option(
        "--run",
        action="append",
        default=[],
        metavar="KEY",
        help="run whose layers are explored (default: the best validation run of each variant)",
    )
    option(
        "--layers",
        default="",
        metavar="NAME,NAME",
        help="layers such as 'convolution 1,dense' (default: all; two of them are drawn)",
    )
    option("--images", type=int, default=1000, help="maximum of test images (default: 1000)")
    option("--perplexity", type=float, default=30.0, help="the perplexity of t-SNE (default: 30)")
    option("--without-layers", action="store_true", help="use only the records, without t-SNE")
    option("--data-root", type=Path, help="folder of the images, if they moved since training")
    option("--cache-dir", type=Path, help="cache of decoded images, if it moved since training")
    option("--out", type=Path, help="output folder (default: RUNS_DIR/study/SWEEP)")
    add.set_defaults(act=_study)


def _study(args: argparse.Namespace) -> None:
    from analysis.study import write_study

    sweeps = args.sweeps or [newest_sweep(args.runs_dir)]
    for sweep in sweeps:
        if not args.without_layers:
            _look_at_layers(args, sweep)
        out = args.out / sweep if args.out and len(sweeps) > 1 else args.out
        folder = write_study(args.runs_dir, sweep, out)
        print(_sentences(folder))
        print(f"Written: {folder} (study.md, tables, figures)")
    if len(sweeps) > 1:
        _beside(args, sweeps)


def _sentences(folder: Path) -> str:
    lines = (folder / "study.md").read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith("- "))


def _look_at_layers(args: argparse.Namespace, sweep: str) -> None:
    """Save and explore the layers of the chosen runs."""
    from analysis.layers import explore_layers
    from birds.use.layers import save_layers

    names = [name.strip() for name in args.layers.split(",") if name.strip()]
    for folder in _folders(args, sweep):
        print(f"study: layers of {folder.key}", file=sys.stderr, flush=True)
        save_layers(folder, names, args.images, args.data_root, args.cache_dir)
        explore_layers(folder, args.perplexity)


def _folders(args: argparse.Namespace, sweep: str) -> list[RunFolder]:
    from analysis.cells import named_runs

    if args.run:
        return [find_run(args.runs_dir, name) for name in args.run]
    runs = named_runs(args.runs_dir, sweep)
    return [RunFolder(args.runs_dir, key) for key in best_of_each_variant(runs)]


def best_of_each_variant(runs: "pd.DataFrame") -> list[str]:
    """The key of each variant's best run by validation accuracy, the best variants first."""
    order = runs.sort_values("valid_accuracy", ascending=False, kind="stable")
    keys: list[str] = order.drop_duplicates("variant")["key"].tolist()
    return keys[:MOST_RUNS]


def _beside(args: argparse.Namespace, sweeps: list[str]) -> None:
    from analysis.figures import save
    from analysis.study_figures import beside_figure

    if args.without_layers:
        return
    folder = args.out or args.runs_dir / "study" / "+".join(sweeps)
    folder.mkdir(parents=True, exist_ok=True)
    save(beside_figure(args.runs_dir, sweeps), folder / "layers")
    print(f"Written: {folder}/layers.png, which compares the sweeps")

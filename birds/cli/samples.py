"""`birds samples RUN ...`: evaluate the images of generators with a classifier of the same data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from birds.core.spec import UserError
from birds.core.store import RunFolder, find_run
from birds.core.sweep import read_sweep, sweep_file, titles


def add_command(commands: Any) -> None:
    """Add `samples` to what `add_subparsers()` returned."""
    words = "evaluate the images of a GAN: distance to real images, classes, pictures"
    add = commands.add_parser("samples", help=words)
    option = add.add_argument
    option(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a sweep, or the key or folder of a GAN or of a classifier built on one",
    )
    option(
        "--judge",
        nargs="+",
        default=[],
        metavar="KEY",
        help="classifiers that evaluate, one for each data set (default: the best in RUNS_DIR)",
    )
    option(
        "--images",
        type=int,
        metavar="N",
        help="number of real and of drawn images in a distance (default: that of test images)",
    )
    option("--data-root", type=Path, help="folder of the images, if they moved since training")
    option("--cache-dir", type=Path, help="cache of decoded images, if it moved since training")
    add.set_defaults(act=_samples)


def _samples(args: argparse.Namespace) -> None:
    from analysis.samples import samples_table, write_samples_table
    from birds.core.spec import read_spec
    from birds.use.samples import find_judge, judge_samples

    if args.images is not None and args.images < 2:
        raise UserError(f"--images {args.images}: a distance needs 2 or more images of each kind")
    folders = _generators(args)
    named = [find_run(args.runs_dir, key) for key in args.judge]
    specs = {folder.key: read_spec(folder.spec_file.read_text()) for folder in folders}
    judges = [find_judge(spec, args.runs_dir, named) for spec in specs.values()]
    judged = []
    for folder, judge in zip(folders, judges, strict=True):
        print(f"samples: {folder.key}, judged by {judge.key}", file=sys.stderr, flush=True)
        numbers = judge_samples(folder, judge, args.data_root, args.cache_dir, most=args.images)
        record = folder.record()
        assert record is not None
        judged.append((titles(specs)[folder.key], record.model_dump(), numbers))
    name = "-".join(Path(run).name for run in args.runs)
    print(write_samples_table(args.runs_dir, name, samples_table(judged)))
    print(f"Written: {args.runs_dir}/<key>/samples/ (samples.json, grid.png, classes.png)")


def _generators(args: argparse.Namespace) -> list[RunFolder]:
    """The named runs that generate images, each once.

    Raises UserError for a name without a generator.
    """
    from birds.use.samples import generators_of

    found: dict[str, RunFolder] = {}
    for name in args.runs:
        folders = _runs(args.runs_dir, name)
        refusals = []
        own: list[RunFolder] = []
        for folder in folders:
            try:
                own += generators_of(folder)
            except UserError as refusal:
                refusals.append(refusal)
        if not own:
            raise refusals[0]
        found |= {folder.key: folder for folder in own}
    return list(found.values())


def _runs(runs_dir: Path, name: str) -> list[RunFolder]:
    """The run with this key or folder, or all runs of a sweep."""
    if not sweep_file(runs_dir, name).exists():
        return [find_run(runs_dir, name)]
    return [RunFolder(runs_dir, run.key) for run in read_sweep(runs_dir, name).runs]

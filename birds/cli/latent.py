"""`birds latent RUN ...`: what encoders make of the unlabelled photos, in numbers and pictures."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from birds.core.spec import UserError
from birds.core.store import RunFolder, find_run
from birds.core.sweep import sweep_file


def add_command(commands: Any) -> None:
    """Add `latent` to what `add_subparsers()` returned."""
    words = "latent vectors of the unlabelled photos: clusters, how far they are species, pictures"
    add = commands.add_parser("latent", help=words)
    option = add.add_argument
    option(
        "runs",
        nargs="+",
        metavar="RUN",
        help="key or folder of a pretraining or a classifier's run, or a sweep",
    )
    option(
        "--perplexity", type=float, default=30.0, help="neighbours that t-SNE minds (default: 30)"
    )
    option("--data-root", type=Path, help="where the photos lie, if not where they lay in training")
    option(
        "--cache-dir", type=Path, help="where decoded photos lie, if not where they lay in training"
    )
    add.set_defaults(act=_latent)


def named(runs_dir: Path, name: str) -> list[RunFolder]:
    """The run of that key or folder; of a sweep its first seed's finished runs whose encoder
    learned from labels.

    Raises UserError when there is no such run.
    """
    from analysis.frame import sweep_frame

    if not sweep_file(runs_dir, name).exists():
        return [find_run(runs_dir, name)]
    frame, _ = sweep_frame(runs_dir, name)
    if frame.empty:
        raise UserError(f"no run of {name} is finished yet; birds status {name}")
    own = frame[
        ~frame["choice.transfer"].isin(["frozen", "untrained"])
        & (frame["seed"] == frame["seed"].min())
    ]
    return [RunFolder(runs_dir, key) for key in own["key"]]


def _latent(args: argparse.Namespace) -> None:
    folders = [folder for name in args.runs for folder in named(args.runs_dir, name)]
    from analysis.latent_space import as_markdown
    from birds.use.latent.explore import explore

    where = {"data_root": args.data_root, "cache_dir": args.cache_dir}
    say = partial(print, "latent:", file=sys.stderr, flush=True)
    print(as_markdown(explore(folders, perplexity=args.perplexity, where=where, say=say)))
    print(f"Written: {args.runs_dir}/<key>/latent/ (latent.html, .png, .json, .npz, and clusters/)")

"""`birds latent RUN ...`: what encoders make of the unlabelled photos, in numbers and pictures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from analysis.markdown import markdown
from birds.store import find_run

HEAD = [
    "run", "encoder", "photos", "accuracy %", "by chance %", "NMI", "ARI", "silhouette", "silhouette of species",
]  # fmt: skip
NOTE = """\
K-means with as many clusters as species, over the latent vectors of the unlabelled training photos of the run's cut:
mean over positions of the deepest features (of a variational pretraining, of the latent's mean). Accuracy: clusters
matched one to one to species so that most photos agree; by chance: the same after shuffling species.
Labels measure here and teach nothing."""


def add_command(commands: Any) -> None:
    """Add `latent` to what `add_subparsers()` returned."""
    words = "latent vectors of the unlabelled photos: clusters, how far they are species, pictures"
    add = commands.add_parser("latent", help=words)
    option = add.add_argument
    option("runs", nargs="+", metavar="RUN", help="key or folder of a pretraining or a classifier's run")
    option("--perplexity", type=float, default=30.0, help="neighbours that t-SNE minds (default: 30)")
    option("--data-root", type=Path, help="where the photos lie, if not where they lay in training")
    option("--cache-dir", type=Path, help="where decoded photos lie, if not where they lay in training")
    add.set_defaults(act=_latent)


def _latent(args: argparse.Namespace) -> None:
    folders = [find_run(args.runs_dir, name) for name in args.runs]
    from birds.latent.explore import explore
    from birds.latent.space import as_row

    where = {"data_root": args.data_root, "cache_dir": args.cache_dir}
    rows = explore(folders, perplexity=args.perplexity, where=where, say=_say)
    print(markdown(HEAD, [[row.run, row.encoder, str(row.photos), *as_row(row.metrics)] for row in rows]))
    print(f"\n{NOTE}\nWritten: runs/<key>/latent/ (latent.html, latent.png, latent.json, latent.npz, clusters/)")


def _say(words: str) -> None:
    print(f"latent: {words}", file=sys.stderr, flush=True)

"""`birds embed KEY FOLDER --out FILE`: write feature vectors of images, made by a run's encoder.

`encoder=features encoder.file=FILE` reads such a file, also one made by another program.
"""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_command(commands: Any) -> None:
    """Add `embed` to what `add_subparsers()` returned."""
    words = "write feature vectors of a folder's images, made by a run's encoder"
    embed = commands.add_parser("embed", help=words, description=__doc__)
    embed.add_argument("run", help="key or folder of a run, or a sweep (its best run)")
    embed.add_argument("root", type=Path, help="the folder of the images; subfolders are included")
    embed.add_argument("--out", type=Path, required=True, help="a .parquet, .csv or .npz file")
    embed.set_defaults(act=_embed)


def _embed(args: argparse.Namespace) -> None:
    from birds.cli.chosen_run import chosen_run
    from birds.core.errors import refuse_odd_file
    from birds.core.feature_files import (
        ENDINGS,
        refuse_parquet_without_pyarrow,
        write_features,
    )
    from birds.use.embed import embedded, opened_encoder, refuse_no_folder

    refuse_odd_file(args.out, ENDINGS)
    refuse_parquet_without_pyarrow(args.out)
    refuse_no_folder(args.root)
    from birds.cli.progress_bar import progress_bar

    encode, image = opened_encoder(chosen_run(args.runs_dir, args.run))
    with progress_bar([args.root]) as advance:
        found, unreadable = embedded(encode, image, args.root, advance)
    write_features(args.out, found)
    count, length = found.features.shape
    for file in unreadable:
        print(f"embed: left out because it cannot be read: {file}", file=sys.stderr)
    print(f"Written: {args.out} ({count} images, {length} features)")

"""`birds latent RUN ...`: explore the encoders' vectors of the unlabelled images.

Writes numbers, pictures and a page for each run. Each encoder is compared with the encoder that
its run started from. `explore` does all the work; read it first.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birds.core.spec import UserError
from birds.core.store import RunFolder, find_run, write_atomically, write_text
from birds.core.sweep import sweep_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from analysis.latent_space import Space
    from birds.use.latent import Opened

AT_START = "encoder at the start"
COPIES = 1600  # images of which small copies are kept, for pages
COPY_SIDE = 48  # pixels

Row = tuple[str, str, "Space"]  # of which run, by which encoder


def add_command(commands: Any) -> None:
    """Add `latent` to what `add_subparsers()` returned."""
    words = "explore the latent vectors of unlabelled images: clusters, classes, pictures"
    add = commands.add_parser("latent", help=words)
    option = add.add_argument
    option(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a sweep, or the key or folder of a pretraining or classifier run",
    )
    option("--perplexity", type=float, default=30.0, help="the perplexity of t-SNE (default: 30)")
    option("--data-root", type=Path, help="folder of the images, if they moved since training")
    option("--cache-dir", type=Path, help="cache of decoded images, if it moved since training")
    add.set_defaults(act=_latent)


def _latent(args: argparse.Namespace) -> None:
    folders: list[RunFolder] = []
    for name in args.runs:
        folders += named_runs(args.runs_dir, name)
    from analysis.latent_space import as_markdown

    print(as_markdown(explore(folders, args.perplexity, args.data_root, args.cache_dir)))
    print(f"Written: {args.runs_dir}/<key>/latent/ (latent.html, .png, .json, .npz, and clusters/)")


def named_runs(runs_dir: Path, name: str) -> list[RunFolder]:
    """The run with this key or folder; for a sweep, its trained encoders of the first seed.

    A run with a frozen encoder is replaced by the pretraining run that the encoder came from.
    Raises UserError when there is no such run.
    """
    if not sweep_file(runs_dir, name).exists():
        return [find_run(runs_dir, name)]
    from analysis.frame import sweep_frame
    from birds.use.latent import with_own_encoder

    frame, _ = sweep_frame(runs_dir, name)
    if frame.empty:
        raise UserError(f"no run of {name} is finished yet; see birds status {name}")
    first_seed = frame[frame["seed"] == frame["seed"].min()]
    found = with_own_encoder([RunFolder(runs_dir, key) for key in first_seed["key"]])
    if not found:
        raise UserError(
            f"no encoder of {name} was trained: its runs train only a head on a frozen encoder; to "
            f"see that encoder, name a run: birds latent {first_seed['key'].iloc[0]}"
        )
    return found


def explore(
    folders: Sequence[RunFolder],
    perplexity: float,
    data_root: Path | None = None,
    cache_dir: Path | None = None,
) -> list[Row]:
    """Explore the latent space of each run and of the runs that it needs, and write the results.

    Args:
        folders: the runs.
        perplexity: the perplexity of t-SNE.
        data_root: the folder of the images, if they moved since training.
        cache_dir: the cache of decoded images, if it moved since training.

    Returns:
        One row for each encoder: encoders at the start, needed runs, then the runs themselves.

    Raises UserError before any work when a run has no encoder or too few images.
    """
    from analysis.latent_space import refuse_too_few
    from birds.use.latent import open_run, with_needs

    runs = [open_run(folder, data_root, cache_dir) for folder in with_needs(folders)]
    for run in runs:
        refuse_too_few(len(run.rows), len(run.data.images.classes), perplexity)
    rows: dict[str, Row] = {}
    for run in runs:
        if run.start not in rows:
            _say(f"{AT_START} of {run.folder.key}")
            space = _space(run, run.vectors_at_start(), perplexity)
            rows[run.start] = (f"split={run.spec.split} seed={run.spec.seed}", AT_START, space)
        _say(f"{run.folder.key} {run.spec.title}: {run.words}")
        space = _space(run, run.vectors(), perplexity)
        rows[run.folder.key] = (f"{run.spec.title} ({run.folder.key})", run.words, space)
        _leave(run, rows[run.start][2], space, perplexity)
        _show_on_wandb(run, space)
    return list(rows.values())


def _space(run: Opened, vectors: NDArray[np.float32], perplexity: float) -> Space:
    from analysis.latent_space import explored
    from birds.methods.vectors import kmeans_clusters

    classes, seed = len(run.data.images.classes), run.spec.seed
    cluster = kmeans_clusters(vectors, classes, seed)
    return explored(vectors, run.label, cluster, classes, perplexity=perplexity, seed=seed)


def _leave(run: Opened, start: Space, space: Space, perplexity: float) -> None:
    """Write vectors and pictures into the run's folder, and the numbers last."""
    import numpy as np

    from analysis.figures import save
    from analysis.latent_pictures import save_page, save_sheets, spaces_figure
    from birds.core.thumbnails import save_thumbnails

    place = run.folder.latent
    classes = run.data.images.classes
    place.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        name: getattr(space, name) for name in ("vectors", "label", "cluster", "tsne")
    }
    arrays |= {"rows": run.rows, "image": np.array(run.names())}
    write_atomically(place / "latent.npz", partial(np.savez_compressed, **arrays))
    spaces = {AT_START: start, run.words: space}
    images = run.images()
    save(spaces_figure(spaces, classes), place / "latent", ("png",))
    save_page(spaces, classes, images, place / "latent.html")
    save_sheets(space, classes, images, place / "clusters")
    ids = arrays["image"][:COPIES].tolist()
    copies = dict(zip(ids, images, strict=False))
    save_thumbnails(place / "thumbnails.npz", copies, COPY_SIDE)
    numbers = _numbers(run, start, space) | {"perplexity": perplexity}
    write_text(place / "latent.json", json.dumps(numbers, indent=1))


def _numbers(run: Opened, start: Space, space: Space) -> dict[str, Any]:
    from analysis.latent_space import MEANING

    about = {
        "key": run.folder.key,
        "encoder": run.words,
        "vector": MEANING,
        "images": len(run.rows),
        "clusters": len(run.data.images.classes),
    }
    at_start = {f"untrained_{name}": value for name, value in start.metrics.items()}
    return about | space.metrics | at_start


def _show_on_wandb(run: Opened, space: Space) -> None:
    """Add numbers and picture to the run's W&B log, in the mode that the run was tracked with."""
    from birds.train.tracking import tracker

    record = run.folder.record()
    mode = record.value("runtime.tracking") if record else "none"
    log = tracker(run.spec, run.folder.tracking, mode)
    if log is None:
        return
    log.summarize({f"latent_{name}": value for name, value in space.metrics.items()})
    picture = run.folder.latent / "latent.png"
    log.picture("latent", picture, f"t-SNE of unlabelled images: {run.words}")
    log.finish()


def _say(words: str) -> None:
    print(f"latent: {words}", file=sys.stderr, flush=True)

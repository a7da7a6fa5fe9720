"""`birds latent RUN ...`: what encoders make of the unlabelled images, in numbers and pictures.

Read `explore` first: it is the whole of it. The encoder that a run started from stands beside each.
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
from birds.core.thumbnails import save_thumbnails

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
    words = "latent vectors of the unlabelled images: clusters, how far they are classes, pictures"
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
    option("--data-root", type=Path, help="where the images lie, if not where they lay in training")
    option(
        "--cache-dir", type=Path, help="where decoded images lie, if not where they lay in training"
    )
    add.set_defaults(act=_latent)


def _latent(args: argparse.Namespace) -> None:
    folders: list[RunFolder] = []
    for name in args.runs:
        folders += named_runs(args.runs_dir, name)
    from analysis.latent_space import as_markdown

    print(as_markdown(explore(folders, args.perplexity, args.data_root, args.cache_dir)))
    print(f"Written: {args.runs_dir}/<key>/latent/ (latent.html, .png, .json, .npz, and clusters/)")


def named_runs(runs_dir: Path, name: str) -> list[RunFolder]:
    """The run of that key or folder; of a sweep its first seed's finished runs whose encoder
    learned, or the runs that it came from.

    Raises UserError when there is no such run.
    """
    if not sweep_file(runs_dir, name).exists():
        return [find_run(runs_dir, name)]
    from analysis.frame import sweep_frame
    from birds.use.latent import with_own_encoder

    frame, _ = sweep_frame(runs_dir, name)
    if frame.empty:
        raise UserError(f"no run of {name} is finished yet; birds status {name}")
    first_seed = frame[frame["seed"] == frame["seed"].min()]
    found = with_own_encoder([RunFolder(runs_dir, key) for key in first_seed["key"]])
    if not found:
        raise UserError(
            f"no encoder of {name} has learned: its runs train their head alone, on the encoder as "
            f"it comes; to look at that one name a run: birds latent {first_seed['key'].iloc[0]}"
        )
    return found


def explore(
    folders: Sequence[RunFolder],
    perplexity: float,
    data_root: Path | None = None,
    cache_dir: Path | None = None,
) -> list[Row]:
    """Explore each run's latent space, those of the runs that it needs first; rows in that order,
    after the encoder that they started from.

    `data_root` and `cache_dir` say where the images lie by now. Raises UserError before any work
    when a run has no encoder or too few images.
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
    """Write vectors, pictures and, last, the numbers into the run's folder."""
    import numpy as np

    from analysis.figures import save
    from analysis.latent_pictures import save_page, save_sheets, spaces_figure

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
    """Add numbers and picture to the run in W&B, the way it was tracked."""
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

"""From finished runs to their latent spaces: encoded, clustered, drawn, written beside each run,
shown in W&B.

Read `explore` first: it is the whole of it. An untrained encoder of the same architecture and seed
stands beside each.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures import save
from analysis.latent_pictures import save_page, save_sheets, spaces_figure
from analysis.latent_space import MEANING, Space, explored, refuse_too_few
from birds.core.spec import RunSpec, read_spec
from birds.core.store import RunFolder, write_atomically, write_text
from birds.data.module import BirdsDataModule
from birds.data.reopen import reopened
from birds.train.tracking import tracker
from birds.use.latent.encode import Encode, encoder_of, unlabelled_vectors, untrained_encode

UNTRAINED = "untrained encoder"

Where = dict[str, Path | None]
Say = Callable[[str], object]
Row = tuple[str, str, Space]  # of which run, by which encoder


def explore(
    folders: Sequence[RunFolder], *, perplexity: float, where: Where, say: Say
) -> list[Row]:
    """Explore each run's latent space, its pretraining's before its own; rows in that order, after
    the untrained one.

    `where` may say that the photos (`data_root`) or decoded ones (`cache_dir`) lie elsewhere by
    now. Raises UserError before any work when a run has no encoder or too few photos.
    """
    opened = []
    for folder in with_pretraining(folders):
        spec = read_spec(folder.spec_file.read_text())
        encoder, data = encoder_of(folder, spec), reopened(folder, spec, **where)
        refuse_too_few(len(data.rows["unlabelled"]), len(data.photos.species), perplexity)
        opened.append((folder, spec, data, *encoder))
    rows: dict[Any, Row] = {}
    for folder, spec, data, encode, words in opened:
        start = (spec.data, spec.split, spec.seed, spec.encoder)
        if start not in rows:
            say(f"{UNTRAINED} of {folder.key}")
            plain = _space(untrained_encode(spec), data, perplexity)
            rows[start] = (f"split={spec.split} seed={spec.seed}", UNTRAINED, plain)
        say(f"{folder.key} {spec.title}: {words}")
        space = _space(encode, data, perplexity)
        rows[folder.key] = (f"{spec.title} ({folder.key})", words, space)
        _leave(folder, data, {UNTRAINED: rows[start][2], words: space}, perplexity)
        _show_on_wandb(folder, spec, space, words)
    return list(rows.values())


def with_pretraining(folders: Sequence[RunFolder]) -> list[RunFolder]:
    """The runs, each once, and before each the pretraining that it stands on, as far as that is
    still there.
    """
    found: dict[str, RunFolder] = {}
    for folder in folders:
        needs = read_spec(folder.spec_file.read_text()).needs
        before = RunFolder(folder.path.parent, needs) if needs else folder
        found |= {
            one.key: one
            for one in (before, folder)
            if one is folder or one.checkpoint("best").exists()
        }
    return list(found.values())


def _space(encode: Encode, data: BirdsDataModule, perplexity: float) -> Space:
    label, vectors = data.label[data.rows["unlabelled"]], unlabelled_vectors(encode, data)
    return explored(
        vectors, label, len(data.photos.species), perplexity=perplexity, seed=data.spec.seed
    )


def _leave(
    folder: RunFolder, data: BirdsDataModule, spaces: dict[str, Space], perplexity: float
) -> None:
    """Write vectors, pictures and, last, the numbers of the last of two spaces into the run's
    folder.
    """
    place, rows, species = folder.latent, data.rows["unlabelled"], data.photos.species
    (plain, space), encoder = spaces.values(), list(spaces)[-1]
    place.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        name: getattr(space, name) for name in ("vectors", "label", "cluster", "tsne")
    }
    arrays |= {"rows": rows, "photo": np.array(data.photos.paths)[rows]}
    write_atomically(place / "latent.npz", partial(np.savez_compressed, **arrays))
    photos = [data.pixels[row] for row in rows]
    save(spaces_figure(spaces, species), place / "latent", ("png",))
    save_page(spaces, species, photos, place / "latent.html")
    save_sheets(space, species, photos, place / "clusters")
    about = {
        "key": folder.key,
        "encoder": encoder,
        "vector": MEANING,
        "photos": len(rows),
        "clusters": len(species),
    }
    about |= {"perplexity": perplexity, **space.metrics}
    about |= {f"untrained_{name}": value for name, value in plain.metrics.items()}
    write_text(place / "latent.json", json.dumps(about, indent=1))


def _show_on_wandb(folder: RunFolder, spec: RunSpec, space: Space, encoder: str) -> None:
    """Add numbers and picture to the run in W&B, the way it was tracked."""
    record = folder.record()
    if log := tracker(
        spec, folder.tracking, record.value("runtime.tracking") if record else "none"
    ):
        log.summarize({f"latent_{name}": value for name, value in space.metrics.items()})
        log.picture(
            "latent", folder.latent / "latent.png", f"t-SNE of unlabelled photos: {encoder}"
        )
        log.finish()

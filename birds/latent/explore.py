"""From finished runs to their latent spaces: encoded, clustered, drawn, written beside each run, shown in W&B.

Read `explore` first: it is the whole of it. An untrained encoder of the same architecture and seed stands beside each.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from birds.data.module import BirdsDataModule
from birds.data.reopen import reopened
from birds.latent.encode import Encode, encoder_of, unlabelled_vectors, untrained
from birds.latent.pictures import save_page, save_scatter, save_sheets
from birds.latent.space import Space, explored, refuse_too_few
from birds.spec import RunSpec, read_spec
from birds.store import RunFolder, write_atomically, write_text
from birds.tracking import tracker

UNTRAINED = "untrained encoder"
MEANING = "mean over positions of the deepest features (of a variational pretraining: of the latent's mean)"

Say = Callable[[str], object]


@dataclasses.dataclass(frozen=True)
class Explored:
    """A row of the table: of which run, by which encoder, over how many photos, and what was measured."""

    run: str
    encoder: str
    photos: int
    metrics: dict[str, float]


@dataclasses.dataclass(frozen=True)
class _Asked:
    folder: RunFolder
    spec: RunSpec
    encode: Encode
    encoder: str
    data: BirdsDataModule


def explore(
    folders: Sequence[RunFolder], *, perplexity: float, where: dict[str, Path | None], say: Say
) -> list[Explored]:
    """Explore each run's latent space, its pretraining's before its own; rows in that order, after the untrained one.

    `where` may say that the photos (`data_root`) or decoded ones (`cache_dir`) lie elsewhere by now. Raises Refused
    before any work when a run has no encoder or too few photos.
    """
    asked = [_opened(folder, where) for folder in with_pretraining(folders)]
    for one in asked:
        refuse_too_few(len(one.data.rows["unlabelled"]), len(one.data.photos.species), perplexity)
    rows: dict[Any, Explored] = {}
    plain: dict[Any, Space] = {}
    for one in asked:
        spec = one.spec
        start = (spec.data, spec.split, spec.seed, spec.encoder)
        if start not in plain:
            say(f"{UNTRAINED} of {one.folder.key}")
            plain[start] = _space(untrained(spec), one.data, perplexity)
            rows[start] = Explored(f"split={spec.split} seed={spec.seed}", UNTRAINED, *_measured(plain[start]))
        say(f"{one.folder.key} {spec.title}: {one.encoder}")
        space = _space(one.encode, one.data, perplexity)
        rows[one.folder.key] = Explored(f"{spec.title} ({one.folder.key})", one.encoder, *_measured(space))
        _leave(one, space, plain[start], perplexity)
    return list(rows.values())


def with_pretraining(folders: Sequence[RunFolder]) -> list[RunFolder]:
    """The runs, each once, and before each the pretraining that it stands on, as far as that is still there."""
    found: dict[str, RunFolder] = {}
    for folder in folders:
        needs = read_spec(folder.spec_file.read_text()).needs
        before = RunFolder(folder.path.parent, needs) if needs else folder
        found |= {one.key: one for one in (before, folder) if one is folder or one.checkpoint("best").exists()}
    return list(found.values())


def _opened(folder: RunFolder, where: dict[str, Path | None]) -> _Asked:
    spec = read_spec(folder.spec_file.read_text())
    encode, encoder = encoder_of(folder, spec)
    return _Asked(folder, spec, encode, encoder, reopened(folder, spec, **where))


def _space(encode: Encode, data: BirdsDataModule, perplexity: float) -> Space:
    label = data.label[data.rows["unlabelled"]]
    vectors = unlabelled_vectors(encode, data)
    return explored(vectors, label, len(data.photos.species), perplexity=perplexity, seed=data.spec.seed)


def _measured(space: Space) -> tuple[int, dict[str, float]]:
    return len(space.label), space.metrics


def _leave(one: _Asked, space: Space, plain: Space, perplexity: float) -> None:
    """Write vectors, pictures and, last, the numbers into the run's folder; show them in W&B if the run was there."""
    place, rows, species = one.folder.latent, one.data.rows["unlabelled"], one.data.photos.species
    place.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: getattr(space, name) for name in ("vectors", "label", "cluster", "tsne")}
    write_atomically(place / "latent.npz", partial(np.savez_compressed, rows=rows, **arrays))
    both, photos = {UNTRAINED: plain, one.encoder: space}, [one.data.pixels[row] for row in rows]
    picture = save_scatter(both, species, place / "latent.png")
    save_page(both, species, photos, place / "latent.html")
    save_sheets(space, species, photos, place / "clusters")
    about = {"key": one.folder.key, "encoder": one.encoder, "vector": MEANING, "values": space.vectors.shape[1]}
    about |= {"photos": len(rows), "clusters": len(species), "perplexity": perplexity}
    about |= space.metrics | {f"untrained_{name}": value for name, value in plain.metrics.items()}
    write_text(place / "latent.json", json.dumps(about, indent=1))
    _show_on_wandb(one, space, picture)


def _show_on_wandb(one: _Asked, space: Space, picture: Path) -> None:
    record = one.folder.record()
    mode = record.model_dump().get("runtime.tracking", "none") if record else "none"
    if log := tracker(one.spec, one.folder.tracking, mode):
        log.summarize({f"latent_{name}": value for name, value in space.metrics.items()})
        log.picture("latent", picture, f"t-SNE of unlabelled photos: {one.encoder}")
        log.finish()

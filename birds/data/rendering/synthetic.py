"""Writes the drawn birds as a folder in the layout of BIRDS 525 SPECIES, whole or not at all.

The photos come from `birds.data.rendering.bird_photos`; a marker file tells the renderer, seed and
size of a folder.
"""

import json
import multiprocessing
import os
import shutil
import uuid
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from birds.data.rendering.bird_photos import RENDERER, render_bird
from birds.data.rendering.looks import EPITHETS, KINDS, SPECIES

HEADER = "class id,filepaths,labels,data set,scientific name"


def train_photos(species: int, seed: int = 0) -> int:
    """How many train photos a species has: 55 to 110."""
    return int(np.random.default_rng([seed, species, 0, 3]).integers(55, 111))


def _write_species(folder: Path, species: int, seed: int, size: int) -> list[str]:
    """Write the photos of one species; returns their rows of birds.csv. No two parts share a photo
    seed.
    """
    name = SPECIES[species]
    scientific, rows = f"{KINDS[name.split()[1]]['genus']} {EPITHETS[name]}", []
    parts = (("train", 0, train_photos(species, seed)), ("valid", 1000, 8), ("test", 2000, 8))
    for part, first, count in parts:
        (folder / part / name).mkdir(parents=True)
        for number in range(1, count + 1):
            photo = render_bird(species, first + number - 1, seed=seed, size=size)
            path = f"{part}/{name}/{number:03d}.jpg"
            Image.fromarray(photo).save(folder / path, quality=90)
            rows.append(f"{species},{path},{name},{part},{scientific}")
    return rows


def is_complete(root: Path, *, seed: int = 0, size: int = 160) -> bool:
    """Whether `root` holds this data set; ValueError if it holds another one or other files."""
    if not root.exists() or not any(root.iterdir()):
        return False
    wanted = {"renderer": RENDERER, "seed": seed, "size": size}
    marker = root / "synthetic.json"
    found = json.loads(marker.read_text()) if marker.exists() else "files of another origin"
    if found != wanted:
        raise ValueError(f"{root} holds {found}, wanted {wanted}: delete it or choose another root")
    return True


def write_synthetic(root: Path, *, seed: int = 0, size: int = 160, workers: int = 0) -> None:
    """Write root/train|valid|test/<SPECIES>/NNN.jpg and birds.csv, unless they are there already.

    Photos are size x size; `workers` processes draw them, 0 for one per core. `root` appears whole
    or not at all, and of several processes writing it at once one wins. Raises ValueError as
    `is_complete` does.
    """
    if is_complete(root, seed=seed, size=size):
        return
    # Forked workers start at once: a spawned one would import the caller's script again, torch
    # included.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    draft = root.absolute().with_name(f".{root.absolute().name}.{uuid.uuid4().hex}")
    try:
        with ProcessPoolExecutor(
            workers or os.cpu_count(), multiprocessing.get_context(method)
        ) as pool:
            jobs = [pool.submit(_write_species, draft, k, seed, size) for k in range(len(SPECIES))]
            rows = [row for job in jobs for row in job.result()]
        (draft / "birds.csv").write_text("\n".join([HEADER, *rows, ""]))
        (draft / "synthetic.json").write_text(
            json.dumps({"renderer": RENDERER, "seed": seed, "size": size})
        )
        os.rename(draft, root)
    except OSError:
        if not is_complete(root, seed=seed, size=size):
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)

"""Does the cost per photo and per record stay flat, and does the photo cache keep up with
decoding?
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from bench.paired import ROOT, Row, in_turn, ratio_row
from bench.starting import SHORT, _copies, _train
from birds.core.spec import Part
from birds.data.cache import cache_file, decoded_images
from birds.data.deal import read_images
from birds.data.decode import Look, decode_image
from birds.data.images import Images
from birds.data.prepare import create_source

SIDE = 128


def _folder(root: Path, photos: int, side: int, species: int = 20) -> Path:
    """A folder of so many distinct JPEGs, train, valid and test."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (64, 8, 8, 3), dtype=np.uint8)
    pictures = [
        Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
        for picture in coarse
    ]
    for number in range(photos):
        part = ("train", "train", "train", "valid", "test")[number // species % 5]
        folder = root / part / f"species_{number % species:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{number}.jpg"
        pictures[number % 64].save(file, quality=85)
        with file.open("ab") as more:
            more.write(number.to_bytes(8, "little"))  # no two are the same file
    return root


def _read(folder: Path, cache: Path) -> Images:
    source = create_source(Part(name="folder", options={"root": str(folder)}))
    return read_images(source, cache, classes=20, seed=0)


def cache(rounds: int, photos: int = 1500) -> list[Row]:
    """Photos into the cache against decoding them alone, on all cores."""
    with tempfile.TemporaryDirectory() as temporary:
        root = _folder(Path(temporary) / "photos", photos, 224)
        found = _read(root, Path(temporary))
        paths = [root / name for name in found.ids]

        def alone() -> float:
            started = time.perf_counter()
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for _ in pool.map(lambda path: decode_image(path, size=SIDE), paths):
                    pass
            return time.perf_counter() - started

        def cached() -> float:
            cache_file(found, Path(temporary), Look(SIDE, 3, "crop")).unlink(missing_ok=True)
            started = time.perf_counter()
            decoded_images(found, Path(temporary), SIDE)
            return time.perf_counter() - started

        took = in_turn({"alone": alone, "cached": cached}, rounds)
    shown = f"{photos / float(np.median(took['cached'])):.0f} photos/s of 224 px, to {SIDE} px, PIL"
    return [
        ratio_row(
            "photos into the cache / decoding alone, all cores",
            took["alone"],
            took["cached"],
            0.9,
            shown,
        )
    ]


def photos(few: int, many: int) -> list[Row]:
    """Seconds a photo, `many` against `few`: listed and digested, decoded into the cache, opened
    again.
    """
    costs: dict[tuple[str, int], float] = {}
    peak = 0.0
    for count in (few, many):
        with tempfile.TemporaryDirectory() as temporary:
            folder, cache_dir = (
                _folder(Path(temporary) / "photos", count, SIDE),
                Path(temporary) / "cache",
            )
            cache_dir.mkdir()
            for name in ("first", "again"):
                started = time.perf_counter()
                decoded_images(_read(folder, cache_dir), cache_dir, SIDE)
                costs[name, count] = (time.perf_counter() - started) / count
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        _flat("a photo", name, few, many, costs, f"; peak memory {peak:.0f} MiB")
        for name in ("first", "again")
    ]


def records(few: int, many: int) -> list[Row]:
    """Seconds a record of `birds status` and `birds table`, `many` against `few`, and memory."""
    took: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        runs = Path(temporary)
        train = [sys.executable, *_train(runs, *SHORT)]
        subprocess.run(train, cwd=ROOT, check=True, capture_output=True)
        trained = next(runs.glob("*/record.json")).parent
        for count in (few, many):
            _copies(runs, trained, count)
            for name in ("status", "table"):
                command = [sys.executable, "-m", "birds", "--runs-dir", str(runs), name, "copies"]
                started = time.perf_counter()
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
                took[name, count] = (time.perf_counter() - started) / count
    return [_flat("a record", name, few, many, took) for name in ("status", "table")]


def _flat(
    what: str, name: str, few: int, many: int, took: dict[tuple[str, int], float], more: str = ""
) -> Row:
    """What one of `many` takes, in seconds, against one of `few`."""
    shown = f"{1e6 * took[name, many]:.0f} us each{more}"
    return Row(
        f"{name}: {what} among {many} / among {few}",
        took[name, many] / took[name, few],
        1.2,
        False,
        shown=shown,
    )

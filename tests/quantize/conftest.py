"""A small finished sweep: tinted photos of three species, three runs of two families, trained in
this process.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from birds.core.spec import ClassifySpec, Runtime
from birds.core.store import RunFolder
from birds.data.photos import read_photos
from birds.train.run import run
from birds.use.quantize.make import Order, quantize_run

TINTS = {"AMBER FINCH": (1.0, 0.7, 0.2), "BLUE TIT": (0.3, 0.5, 1.0), "GREEN WREN": (0.3, 0.9, 0.4)}
PARTS = {"train": 16, "valid": 6, "test": 14}


def _write_photos(root: Path) -> Path:
    random = np.random.default_rng(0)
    for name, tint in TINTS.items():
        for part, count in PARTS.items():
            (root / part / name).mkdir(parents=True)
            for k in range(count):
                light = Image.fromarray(random.integers(40, 256, (9, 9), dtype=np.uint8)).resize(
                    (128, 128)
                )
                photo = np.asarray(light)[..., None] * np.array(tint) * random.uniform(0.7, 1, 3)
                Image.fromarray(photo.astype(np.uint8)).save(root / part / name / f"{k:03}.png")
    return root


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The finished sweep `tiny`: `runs_dir`, the photos' `root`, and `keys` of two seeds of one
    family and another.
    """
    root = _write_photos(tmp_path_factory.mktemp("birds") / "photos")
    runs_dir = root.parent / "runs"
    where = {"runs_dir": runs_dir, "cache_dir": runs_dir / "cache", "data_root": root}
    runtime = Runtime(**where, device="cpu", precision="32", tracking="none")
    choice = {"species": 3, "move_to_test": 0, "seed": 0}
    digest = read_photos(root, runtime.cache_dir, **choice).digest
    training = {
        "epochs": 3,
        "min_steps": 6,
        "batch": 8,
        "lr": 0.01,
        "weight_decay": 0.01,
        "warmup": 0.1,
    }
    keys = []
    for split, seed in ((50, 0), (50, 1), (75, 0)):
        spec = ClassifySpec.model_validate(
            {
                "data": {"name": "folder", "digest": digest, "size": 128, **choice},
                "encoder": {"name": "tiny", "module": "unet", "stem": 2, "widths": (8, 12, 16)},
                "training": {**training, "patience": 5, "augment": 0.0},
                **{
                    "split": split,
                    "seed": seed,
                    "budget": "test",
                    "variant": "A",
                    "transfer": "scratch",
                },
                **{"pretrained": None, "label_smoothing": 0.1, "dropout": 0.0},
            }
        )
        run(spec, runtime)
        keys.append(spec.key)
    sweep = runs_dir / "sweeps" / "tiny" / "sweep.json"
    sweep.parent.mkdir(parents=True)
    asked = [{"key": key, "overrides": [f"data.root={root}"]} for key in keys]
    sweep.write_text(json.dumps({"name": "tiny", "runs": asked}))
    return SimpleNamespace(runs_dir=runs_dir, root=root, keys=keys)


@pytest.fixture(scope="session")
def models(trained: SimpleNamespace) -> dict[str, object]:
    """The models of the first run by precision."""
    return {
        m.precision: m
        for m in quantize_run(RunFolder(trained.runs_dir, trained.keys[0]), Order(calibration=16))
    }


@pytest.fixture
def copied(trained: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """The sweep again, to be spoiled."""
    shutil.copytree(trained.runs_dir, tmp_path / "runs", ignore=shutil.ignore_patterns("models"))
    return SimpleNamespace(runs_dir=tmp_path / "runs", root=trained.root, keys=trained.keys)

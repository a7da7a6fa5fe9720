"""A small finished sweep on tinted pictures of three classes, trained in this process.

It has three runs of two families. There is also a run on grey squashed images, and one with a
fitted head.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from birds.core.parts import chosen_part
from birds.core.spec import Part, RunSpec, Runtime
from birds.core.store import RunFolder
from birds.data.deal import read_images
from birds.data.prepare import create_source
from birds.train.run import run
from birds.use.quantize.evidence import Order
from birds.use.quantize.make import quantize_run

TRAINING = {
    "epochs": 3,
    "min_steps": 6,
    "batch": 8,
    "lr": 0.01,
    "weight_decay": 0.01,
    "warmup": 0.1,
    "patience": 5,
    "augment": 0.0,
}
UNET = {"name": "tiny", "part": "unet", "stem": 2, "widths": (8, 12, 16)}
SMALL_CNN = {"name": "simple_cnn", "widths": (8, 8), "dense": 16}
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


def classifier(head: str, train: str) -> Part:
    """A classifier with this head and a random encoder."""
    chosen = {"head": chosen_part("head", {"name": head}), "train": train, "start": "init"}
    return chosen_part("classifier", {"name": "standard", **chosen})


class Tinted:
    """Makes runs on one folder of tinted pictures."""

    def __init__(self, root: Path) -> None:
        self.runs_dir = root.parent / "runs"
        source = chosen_part("source", {"name": "folder", "root": str(root)})
        cache_dir = self.runs_dir / "cache"
        images = read_images(create_source(source), cache_dir, classes=3, test=0, seed=0)
        self.data = {"name": "folder", "digest": images.digest, "classes": 3, "test": 0}
        self.runtime = Runtime(
            runs_dir=self.runs_dir,
            cache_dir=cache_dir,
            source=source,
            device="cpu",
            precision="32",
            tracking="none",
        )

    def trained(self, **other: Any) -> str:
        """Train a run, by default variant A at 128 pixels; returns its key."""
        choices: dict[str, Any] = {
            "stage": "classify",
            "variant": "A",
            "data": self.data,
            "image": {"size": 128},
            "split": 50,
            "seed": 0,
            "budget": "test",
            "encoder": chosen_part("encoder", UNET),
            "method": classifier("linear", "all"),
            "training": TRAINING,
            "noise_levels": (0.05, 0.2),
        }
        spec = RunSpec.model_validate(choices | other)
        run(spec, self.runtime)
        return spec.key


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The finished sweep `tiny`: `runs_dir`, the pictures' `root`, and `keys` of three runs.

    The keys are two seeds of one family and one run of another. Two further keys are `grey` (28
    pixels, squashed) and `fitted` (an SVM).
    """
    root = _write_photos(tmp_path_factory.mktemp("birds") / "photos")
    tinted = Tinted(root)
    keys = [tinted.trained(split=split, seed=seed) for split, seed in ((50, 0), (50, 1), (75, 0))]
    grey = tinted.trained(
        image={"size": 28, "channels": 1, "resize": "squash"},
        encoder=chosen_part("encoder", SMALL_CNN),
        noise_levels=(),
    )
    fitted = tinted.trained(method=classifier("svm", "head"), training=None, noise_levels=())
    _write_sweep(tinted.runs_dir, "tiny", keys, root)
    _write_sweep(tinted.runs_dir, "mixed", [fitted, grey], root)
    _write_sweep(tinted.runs_dir, "fitted", [fitted], root)
    return SimpleNamespace(runs_dir=tinted.runs_dir, root=root, keys=keys, grey=grey, fitted=fitted)


def _write_sweep(runs_dir: Path, name: str, keys: list[str], root: Path) -> None:
    sweep = runs_dir / "sweeps" / name / "sweep.json"
    sweep.parent.mkdir(parents=True)
    asked = [{"key": key, "overrides": [f"data.root={root}"]} for key in keys]
    sweep.write_text(json.dumps({"name": name, "runs": asked}))


def _models(runs_dir: Path, key: str) -> dict[str, Any]:
    made = quantize_run(RunFolder(runs_dir, key), Order(calibration=16))
    return {model.precision: model for model in made}


@pytest.fixture(scope="session")
def models(trained: SimpleNamespace) -> dict[str, Any]:
    """The models of the first run by precision."""
    return _models(trained.runs_dir, trained.keys[0])


@pytest.fixture(scope="session")
def grey_models(trained: SimpleNamespace) -> dict[str, Any]:
    """The models of the run on grey squashed images by precision."""
    return _models(trained.runs_dir, trained.grey)


@pytest.fixture
def copied(trained: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """A copy of the sweep, which a test may damage."""
    shutil.copytree(trained.runs_dir, tmp_path / "runs", ignore=shutil.ignore_patterns("models"))
    return SimpleNamespace(**vars(trained) | {"runs_dir": tmp_path / "runs"})

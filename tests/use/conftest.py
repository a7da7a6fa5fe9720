"""A finished run on striped images with a fitted head, and its folder, for tests of its use."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_data import write_striped

from birds.core.parts import chosen_part
from birds.core.spec import RunSpec, Runtime
from birds.data.deal import read_images
from birds.data.prepare import create_source
from birds.train.run import run

CNN = {"name": "simple_cnn", "widths": (8, 8), "dense": 16}
FROZEN = {"name": "standard", "train": "head", "start": "init"}


class Striped:
    """Makes runs with frozen encoders on one folder of striped images."""

    def __init__(self, folder: Path) -> None:
        self.root = write_striped(folder / "photos")
        self.runs_dir = folder / "runs"
        source = chosen_part("source", {"name": "folder", "root": str(self.root)})
        cache = self.runs_dir / "cache"
        images = read_images(create_source(source), cache, classes=3, seed=0)
        self.data = {"name": "folder", "digest": images.digest, "classes": 3}
        self.runtime = Runtime(
            runs_dir=self.runs_dir,
            cache_dir=cache,
            source=source,
            device="cpu",
            precision="32",
            tracking="none",
        )

    def trained(self, encoder: dict[str, Any] = CNN, **other: Any) -> RunSpec:
        """A finished run of logistic regression on a frozen encoder."""
        head = chosen_part("head", {"name": other.pop("head", "logistic")})
        values: dict[str, Any] = {
            "stage": "classify",
            "variant": "Logistic",
            "data": self.data,
            "image": {"size": 16},
            "split": 0,
            "seed": 0,
            "budget": "test",
            "encoder": chosen_part("encoder", encoder),
            "method": chosen_part("classifier", {**FROZEN, "head": head}),
            "labels_per_class": 6,
        }
        spec = RunSpec.model_validate(values | other)
        run(spec, self.runtime)
        return spec


@pytest.fixture(scope="session")
def striped(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The runs folder, the images' root, the maker of runs, and a finished run's spec."""
    made = Striped(tmp_path_factory.mktemp("striped"))
    spec = made.trained()
    return SimpleNamespace(runs_dir=made.runs_dir, root=made.root, made=made, spec=spec)

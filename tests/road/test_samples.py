"""`birds samples` from finished runs to numbers, pictures and a table, and its errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from composing import composed
from made_specs import runtime_in
from PIL import Image
from small_data import write_striped

from analysis.closeups import pretraining_columns
from analysis.figures import FIGURES
from birds.cli import main
from birds.core.spec import Part, RunSpec, Runtime
from birds.core.store import RunFolder
from birds.core.sweep import Asked, Sweep
from birds.data.deal import read_images
from birds.data.prepare import create_source
from birds.launch.chosen import spec_from_config
from birds.train.run import run

pytestmark = pytest.mark.filterwarnings("ignore")
WORDS = (
    "data=folder",
    "data.classes=3",
    "budget=smoke",
    "robustness=false",
    "image.size=28",
    "image.channels=1",
)
GAN = ("variant=B1", "encoder=dcgan", "encoder.width=4", "pretraining=dcgan", "pretraining.width=4")
JUDGE = ("variant=A", "encoder=simple_cnn", "split=0", "budget.classify.lr=0.01")


@pytest.fixture
def where(tmp_path: Path) -> Runtime:
    root = write_striped(tmp_path / "images", 28, {"train": 16, "valid": 4, "test": 12})
    (tmp_path / "cache").mkdir()
    return runtime_in(tmp_path, source=Part(name="folder", options={"root": str(root)}))


def done(where: Runtime, *words: str) -> RunSpec:
    """A finished run on the striped images, and the runs that it needs."""
    images = read_images(create_source(where.source), where.cache_dir, classes=3, seed=0)
    made = spec_from_config(composed(*WORDS, *words), images.digest)
    run(made, where)
    return made


def birds(where: Runtime, *words: str) -> int:
    """The exit status of `birds samples`."""
    with pytest.raises(SystemExit) as ended:
        main(["--runs-dir", str(where.runs_dir), "samples", *words])
    return int(ended.value.code or 0)


def test_from_a_sweep_to_numbers_pictures_and_one_table(where: Runtime, capsys: Any) -> None:
    classifiers = [done(where, *GAN, "split=50", f"pretraining.latent={size}") for size in (4, 8)]
    key = classifiers[0].key
    assert birds(where, key) == 2
    said = capsys.readouterr().err
    assert "no classifier of folder at image.size=28 image.channels=1 was trained" in said
    assert "variant=A encoder=simple_cnn split=0" in said

    judge = done(where, *JUDGE)
    smaller = done(where, *JUDGE, "image.size=32")
    assert birds(where, key, "--judge", smaller.key) == 2
    assert "it was trained on other images" in capsys.readouterr().err
    assert birds(where, judge.key) == 2
    assert "generates no images" in capsys.readouterr().err

    sweep = Sweep(name="two", runs=tuple(Asked(key=made.key) for made in [*classifiers, judge]))
    sweep.save(where.runs_dir, beside_older=False)
    assert birds(where, "two", "--images", "1") == 2
    assert "--images 1: a distance needs 2" in capsys.readouterr().err
    assert birds(where, "two") == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    generators = [made.needs[0] for made in classifiers]
    for row, made in zip(rows, generators, strict=True):
        assert made.key in row
        assert f"latent={made.method.options['latent']}" in row
        numbers_agree(where, made, judge.key)
    assert (where.runs_dir / "tables" / "two-samples.csv").exists()
    drawn_curves(where)


def numbers_agree(where: Runtime, made: RunSpec, judge: str) -> None:
    """Check the numbers in a generator's file against its pictures and each other."""
    folder = RunFolder(where.runs_dir, made)
    numbers = json.loads((folder.samples / "samples.json").read_text())
    assert numbers["judge"] == judge
    assert numbers["images"] == 36, "as many as there are test images"
    assert sum(numbers["class_counts"].values()) == numbers["samples_classified"] == 1000
    counts = list(numbers["class_counts"].values())
    assert numbers["classes_seen"] == np.count_nonzero(counts)
    assert numbers["frechet_ratio"] == numbers["frechet_samples"] / numbers["frechet_real"]
    assert numbers["frechet_ratio"] > 3, "eight steps do not make stripes"
    assert Image.open(folder.samples / "grid.png").size == (8 * 28, 8 * 28)
    assert Image.open(folder.samples / "classes.png").height == 3 * 28


def drawn_curves(where: Runtime) -> None:
    """A GAN's curves are among the figures of its sweep."""
    figure = FIGURES["pretraining"](where.runs_dir, "two")
    titles = [axis.get_ylabel() for axis in figure.axes]
    assert titles == ["discriminator loss", "generator loss", "D(x)", "D(G(z))"]
    assert all(axis.lines for axis in figure.axes)


def test_a_pretraining_with_validation_is_drawn_by_its_loss() -> None:
    import pandas as pd

    usual = pd.DataFrame({"epoch": [0], "train_loss": [1.0], "valid_loss": [1.0], "lr": [0.1]})
    assert list(pretraining_columns(usual)) == ["valid_loss"]
    assert list(pretraining_columns(usual.drop(columns="valid_loss"))) == ["train_loss"]

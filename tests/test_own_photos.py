"""A user's own photos: a few with labels, many without, in a table or in folders.

One command leads from there to a table with the right counts. Drawn birds are written to disk like
photos. If real photos are on this machine, six species of them are tested, too.
"""

from __future__ import annotations

import csv
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from forked import call
from own_photos import make_case
from PIL import Image

from birds.data.rendering.bird_photos import render_bird
from birds.data.rendering.looks import SPECIES

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    *("budget=smoke", "image.size=16", "encoder=unet_xs", "encoder.widths=[8,12,16]"),
    *("robustness=false", "tracking=none", "device=cpu", "slots=1"),
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three species of drawn birds with ten labels each; the other photos have none."""

    place = tmp_path_factory.mktemp("drawn")
    for species in range(3):
        folder = place / "classes" / SPECIES[species].replace(" ", "_")
        folder.mkdir(parents=True)
        for k in range(24):
            Image.fromarray(render_bird(species, k, size=32)).save(folder / f"{k:03d}.png")
    assert make_case(place / "classes", place / "case", count=3) == (30, 42)
    return place / "case"


def train(place: Path, *words: str, status: int = 0) -> str:
    """Run `python train.py -m` with these words; returns the text on both streams."""
    runs = place / "runs"
    command = [sys.executable, str(ROOT / "train.py"), "-m", *SMALL, f"runs_dir={runs}", *words]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = call(command, place, env)
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    return said


def rows_of(place: Path) -> dict[str, dict[str, Any]]:
    with (place / "runs" / "tables" / "last.csv").open() as file:
        return {row["variant"]: row for row in csv.DictReader(file)}


def of_table(case: Path) -> tuple[str, ...]:
    return ("data=table", f"data.root={case}/table", "data.table.file=labels.csv")


def of_folders(case: Path) -> tuple[str, ...]:
    folders = case / "folders"
    return (
        *("data=folder", f"data.root={folders}/labelled"),
        f"data.unlabelled={folders}/unlabelled",
    )


def test_a_table_of_some_labels_is_all_it_takes(drawn: Path, tmp_path: Path) -> None:
    said = train(tmp_path, *of_table(drawn), "variant=A,Prototypes")
    assert "42 images under the root that the table does not list, read as unlabelled" in said
    counts = "all 3 classes kept, 18 labelled, 42 unlabelled, 6 validation, 6 test"
    assert counts in said
    assert "budget=smoke: these numbers mean nothing" in said
    assert re.search(r"time: about .* for 2 runs", said)
    rows = rows_of(tmp_path)
    for name in ("A", "Prototypes"):
        assert (rows[name]["labelled"], rows[name]["unlabelled"]) == ("18", "42")
        assert (rows[name]["split"], rows[name]["test"]) == ("0", "6")


def test_folders_with_and_without_labels_are_all_it_takes(drawn: Path, tmp_path: Path) -> None:
    said = train(tmp_path, *of_folders(drawn), "variant=A,B2,FixMatch,SelfTraining")
    assert "all 3 classes kept, 21 labelled, 42 unlabelled" in said
    rows = rows_of(tmp_path)
    assert rows["A"]["unlabelled"] == "0", "it learns from labels alone"
    for name in ("FixMatch", "SelfTraining"):
        assert (rows[name]["labelled"], rows[name]["unlabelled"]) == ("21", "42")
    assert rows["B2"]["labelled"] == "21"
    latent = birds(tmp_path, "latent", "last", "--perplexity", "5")
    assert "A split=0" in latent, "the photos of the folder are looked at, whoever learnt from them"


def birds(place: Path, *words: str) -> str:
    """Run the `birds` command; returns its text."""
    code = "import sys; from birds.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--runs-dir", str(place / "runs"), *words]
    done = call(command, place, {**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_folder_called_unlabelled_is_asked_about(drawn: Path, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    for folder in (drawn / "folders" / "labelled").iterdir():
        (root / folder.name).symlink_to(folder)
    (root / "Sin_etiqueta").symlink_to(drawn / "folders" / "unlabelled")
    words = ("data=folder", f"data.root={root}", "variant=A", "dry_run=true")
    asked = train(tmp_path, *words, status=2)
    assert "42 images would be read as a class called 'Sin_etiqueta'" in asked
    assert (
        f"choose data.unlabelled={root}/Sin_etiqueta; if it is a class, data.keep_class=" in asked
    )
    kept = train(tmp_path, *words, "data.keep_class=Sin_etiqueta")
    assert "all 4 classes kept" in kept
    taken = train(tmp_path, *words, f"data.unlabelled={root}/Sin_etiqueta")
    assert "all 3 classes kept, 21 labelled, 42 unlabelled" in taken
    wrong = train(tmp_path, *words, "data.keep_class=Sin_etiquetta", status=2)
    assert "data.keep_class=Sin_etiquetta: this class does not exist" in wrong


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("data.unlabelled=/nowhere", "data.unlabelled=/nowhere is not a folder; choose a folder"),
        ("data.unlabelled={empty}", "contains no image"),
        ("data.unlabelled={root}", "adds no image: all of them are already in the data set"),
        ("data.unlabelled={root} pool=all_classes", "set only one of them"),
        ("data.pollution=50", "this data set has none; choose fewer data.classes"),
        ("data.pollution=96 split=50", "choose 0 to 95"),
        ("data.unlabelled_filter=10", "data.unlabelled_filter=10"),
        (
            "data.min_images=11",
            "leaves 0 of 3 classes: at least two are needed; choose 10 or fewer",
        ),
        ("balance=weights variant=Prototypes", "counts every class equally already"),
    ],
)
def test_what_is_wrong_is_said_with_its_cure(
    drawn: Path, tmp_path: Path, words: str, cure: str
) -> None:
    root = drawn / "folders" / "labelled"
    (tmp_path / "empty").mkdir()
    asked = words.format(empty=tmp_path / "empty", root=root).split()
    usual = ("data=folder", f"data.root={root}", "split=70", "variant=FixMatch", "dry_run=true")
    own = {word.partition("=")[0] for word in asked}
    usual = tuple(word for word in usual if word.partition("=")[0] not in own)
    assert cure in train(tmp_path, *usual, *asked, status=2)


def test_six_real_species(shared_data: Path, tmp_path: Path) -> None:
    assert make_case(shared_data / "birds_cub100" / "train", tmp_path / "case") == (60, 230)
    case = tmp_path / "case"
    said = train(tmp_path, *of_table(case), "variant=A")
    assert "all 6 classes kept, 36 labelled, 230 unlabelled, 12 validation" in said
    said = train(tmp_path, *of_folders(case), "variant=FixMatch")
    assert "all 6 classes kept, 42 labelled, 230 unlabelled, 6 validation" in said
    assert rows_of(tmp_path)["FixMatch"]["unlabelled"] == "230"

"""The kept results of runs on real images: reading the file and adding to it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import asked, finish

from analysis.results import FILE, add, hits, show
from birds.core.spec import RECIPE
from birds.core.store import RunFolder


def test_the_kept_lines_are_of_recipe_3_and_told_what_their_accuracy_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = pd.read_csv(FILE, dtype={"key": str})
    assert set(kept["recipe"]) <= {2, 3}
    for row in kept.itertuples():
        assert hits(row)[:, 0].mean() == pytest.approx(row.test_accuracy, abs=1e-5)
    show()
    said = capsys.readouterr().out
    assert "100 species, split 90, recipe 3:" in said
    assert said.count("    minus A of ") > 100


def test_runs_of_this_recipe_are_added_as_cells_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(shutil.copy(FILE, tmp_path / "runs.csv"))
    before = pd.read_csv(file)
    for variant, right in (("A", 0.5), ("B1", 0.8)):
        for seed in (0, 1, 2):
            made = asked(f"variant={variant} split=90 data.classes=3 seed={seed}")
            told = np.random.default_rng(seed).random((50, 6)) < right
            accuracy = float(told[:, 0].mean())
            measured = {"test_accuracy": accuracy, "test_macro_f1": 0.5, "valid_accuracy": 0.5}
            measured["images_test"] = 50
            key = finish(tmp_path / "runs", made, device="cpu", **measured)
            names = np.array([f"{n}.png" for n in range(50)])
            tested = {"test_image_noise": names, "test_hits_noise": told}
            if seed == 2:  # tested under noise on a sample of its images
                tested = {name: values[:20] for name, values in tested.items()}
            np.savez(RunFolder(tmp_path / "runs", key).predictions_file, **tested)
    for _ in range(2):  # adding twice changes nothing
        add(tmp_path / "runs", file)
        after = pd.read_csv(file)
        assert len(after) == len(before) + 4
        assert "Left out: 2 classifiers" in capsys.readouterr().out
    new = after[after["recipe"] == RECIPE]
    assert set(new["pretext"].dropna()) == {"autoencode"}
    assert set(new["head"]) == {"linear"}
    show(file)
    cell = capsys.readouterr().out.partition(f"3 species, split 90, recipe {RECIPE}: 32 B1")[2]
    assert "minus A of" in cell

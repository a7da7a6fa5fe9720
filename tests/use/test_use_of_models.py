"""Predict, export and embed on a finished run, and feature files as an encoder."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from birds.cli import main
from birds.core.errors import UserError
from birds.core.feature_files import FeatureFile, read_features, write_features
from birds.core.files import known_files
from birds.core.store import RunFolder
from birds.use.calibration import fitted_temperature, softmax

ROOT = Path(__file__).resolve().parents[2]


def birds(striped: Any, *words: object, status: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--runs-dir", str(striped.runs_dir), *map(str, words)])
    assert ended.value.code == status


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_a_folder_of_any_depth_becomes_a_table_as_the_record_says(
    striped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = shutil.copytree(striped.root / "test", tmp_path / "deep" / "test")
    (place / "A" / "broken.png").write_text("no image")
    table, sheet = tmp_path / "out.csv", tmp_path / "sheet.png"
    birds(striped, "predict", striped.spec.key, place.parent, "--csv", table, "--picture", sheet)
    rows = rows_of(table)
    broken = [row for row in rows if row["error"]]
    assert [Path(row["file"]).name for row in broken] == ["broken.png"]
    whole = [row for row in rows if not row["error"]]
    right = [Path(row["file"]).parent.name == row["class"] for row in whole]
    record = RunFolder(striped.runs_dir, striped.spec.key).record()
    assert np.mean(right) == pytest.approx(record.value("test_accuracy"))
    for row in whole:
        assert (row["unsure"] == "true") == (float(row["probability"]) < 0.5)
        assert float(row["logit"]) >= float(row["logit_2"])
    assert Image.open(sheet).size == (6 * 224, 3 * 288)
    assert f"{len(whole)} images" in capsys.readouterr().out


def test_sheets_come_in_pages(striped: Any, tmp_path: Path) -> None:
    sheet = tmp_path / "s.png"
    birds(striped, "predict", striped.spec.key, striped.root / "train", "--picture", sheet)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s-001.png", "s-002.png"]


@pytest.mark.parametrize("words", [["--unsure", "2"], ["--pages", "0", "--picture", "x.png"]])
def test_odd_choices_of_predict_are_refused(striped: Any, words: list[str]) -> None:
    birds(striped, "predict", striped.spec.key, striped.root, *words, status=2)


def test_a_folder_without_images_is_refused(
    striped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    birds(striped, "predict", striped.spec.key, tmp_path, status=2)
    assert "contains no image, in no subfolder either" in capsys.readouterr().err


def test_the_temperature_is_found_again() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 5))
    chances = softmax(logits)
    label = np.array([random.choice(5, p=row) for row in chances])
    assert fitted_temperature(3 * logits, label) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("images", [4, 40])
def test_few_images_that_are_all_right_do_not_make_a_classifier_certain(images: int) -> None:
    """The mean confidence is about (N + 1) / (N + 2), and not 1."""
    logits = np.zeros((images, 3))
    logits[:, 1] = 0.4
    label = np.ones(images, int)
    sure = softmax(logits, fitted_temperature(logits, label))[:, 1]
    assert sure.mean() == pytest.approx((images + 1) / (images + 2), abs=1e-3)


def test_a_folder_in_place_of_a_run_is_told_apart(
    striped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    birds(striped, "predict", tmp_path, status=2)
    assert f"birds predict last {tmp_path}" in capsys.readouterr().err


def test_an_export_predicts_as_the_run_does_and_tells_of_itself(
    striped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / "model", tmp_path / "out.csv"
    birds(striped, "export", striped.spec.key, out)
    photos = sorted((striped.root / "test").glob("*/*.png"))[:5]
    birds(striped, "predict", striped.spec.key, *photos, "--csv", table)
    command = [sys.executable, str(out / "example.py"), *map(str, photos)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, capture_output=True, text=True, env=env, check=True).stdout
    for row in rows_of(table):
        chance, name = said[said.index(row["file"]) :].splitlines()[1].split()
        assert name == row["class"]
        assert float(chance.rstrip("%")) == pytest.approx(100 * float(row["probability"]), abs=0.2)
    assert (out / "labels.txt").read_text().split() == ["A", "B", "C"]
    card = (out / "README.md").read_text()
    record = RunFolder(striped.runs_dir, striped.spec.key).record()
    assert f"{100 * record.value('test_accuracy'):.1f} % (95 % interval" in card
    assert len((out / "example.py").read_text().splitlines()) <= 20
    from birds.use.quantize.predict import predict_with_model

    by_onnx = predict_with_model(out / "model.onnx", photos)
    assert [one.ranked[0][0] for one in by_onnx] == [row["class"] for row in rows_of(table)]


def test_an_export_does_not_overwrite_another_folder(striped: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    birds(striped, "export", striped.spec.key, tmp_path, status=2)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_our_safetensors_are_those_of_the_package(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.torch")
    import torch

    from birds.use.tensors import load_tensors, save_tensors

    tensors = {"a": torch.rand(3, 4), "b": torch.arange(5), "c": torch.tensor(2.0).bfloat16()}
    save_tensors(tmp_path / "x.safetensors", tensors, {"key": "k"})
    for found in (
        library.load_file(tmp_path / "x.safetensors"),
        load_tensors(tmp_path / "x.safetensors"),
    ):
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("ending", [".npz", ".csv"])
def test_embedded_images_come_back_as_an_encoder_of_equal_accuracy(
    striped: Any, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"features{ending}"
    birds(striped, "embed", striped.spec.key, striped.root, "--out", file)
    runtime = striped.made.runtime
    again = striped.made.trained({"name": "features", "file": str(file)})
    folders = [RunFolder(striped.runs_dir, spec.key) for spec in (striped.spec, again)]
    assert known_files()
    logits = [np.load(folder.predictions_file)["test_logits"] for folder in folders]
    assert np.allclose(*logits, atol=1e-2)
    assert runtime.runs_dir == striped.runs_dir


def test_images_that_a_feature_file_lacks_are_named(striped: Any, tmp_path: Path) -> None:
    file = tmp_path / "features.npz"
    write_features(file, FeatureFile(("a.png", "b.png"), np.ones((2, 3), np.float32)))
    with pytest.raises(UserError, match=r"no vector of \d+ of \d+ images, such as .*/.*\.png"):
        striped.made.trained({"name": "features", "file": str(file)})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,f0\na,1\na,2\n", "the id a occurs twice"),
        ("id,f0\na,1\n,2\n", "row 2 has no id"),
        ("id,f0,f1\na,1,2\nb,1\n", "the vector of b is incomplete or not finite"),
        ("id,f0\na,1\nb,inf\n", "the vector of b is incomplete or not finite"),
        ("id,f0\na,1\nb,x\n", "the column f0 does not contain numbers"),
        ("id,f0\n", "contains no vector"),
        ("name,f0\na,1\n", "has no column id"),
    ],
)
def test_bad_feature_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        read_features(tmp_path / "f.csv")


def test_a_feature_file_of_two_lengths_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", id=np.array(["a", "b"]), features=np.ones((3, 2)))
    with pytest.raises(UserError, match="2 ids and 3 vectors"):
        read_features(tmp_path / "f.npz")

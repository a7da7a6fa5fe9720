"""The kept results of runs on pretrained weights, the page with them, and README's picture."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from made_up import asked, finish
from PIL import Image

from analysis.backbone_results import FILE, add, load, told
from analysis.every_way import ALONE
from analysis.readme_figure import draw, measured, small_network
from analysis.results import hits, shown
from birds.core.store import RunFolder

ROOT = Path(__file__).resolve().parents[2]


def test_the_kept_lines_agree_with_their_accuracy_and_stand_in_the_page() -> None:
    runs = load()
    for row in runs.itertuples():
        assert hits(row).mean() == pytest.approx(row.test_accuracy, abs=1e-5)
    page = (ROOT / "docs" / "results" / "README.md").read_text()
    names = {"mobilenet_v2": "MobileNetV2", "tf_efficientnet_lite0": "EfficientNet-Lite0"}
    for network, name in names.items():
        for variant in (*ALONE, "LabelSpreading", "Prototypes", "SelfTraining"):
            cells = [told(runs, network, labels, variant) for labels in (40, 60, 180)]
            assert [len(cell) for cell in cells] == [5, 5, 5]
            row = " | ".join(shown(cell, cell=True) for cell in cells)
            assert f"| {name} | {variant} | {row} |" in page


def test_readme_says_what_the_lines_say() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    runs = load()
    for network in ("mobilenet_v2", "tf_efficientnet_lite0"):
        own = runs[(runs["network"] == network) & (runs["photos_labelled"] == 60)]
        alone = own[own["variant"].isin(ALONE)].groupby("variant")["valid_accuracy"].mean()
        for variant in (alone.idxmax(), "SelfTraining"):
            accuracy = 100 * told(runs, network, 60, variant).mean()
            assert f"{accuracy:.1f} %" in readme
    assert f"{100 * told(runs, 'tf_efficientnet_lite0', 180, 'Logistic').mean():.1f} %" in readme
    assert f"{100 * small_network('A').mean():.1f} %" in readme


def test_runs_are_added_once(tmp_path: Path) -> None:
    file = Path(shutil.copy(FILE, tmp_path / "backbones.csv"))
    before = len(load(file))
    for seed in (0, 1):
        words = "variant=Logistic split=90 data.classes=20 robustness=false"
        made = asked(f"{words} seed={seed}")
        right = np.random.default_rng(seed).random(500) < 0.7
        measures = {"test_accuracy": float(right.mean()), "valid_accuracy": 0.5}
        key = finish(tmp_path / "runs", made, device="cpu", **measures)
        file_of_run = RunFolder(tmp_path / "runs", key).predictions_file
        logits = np.where(right[:, None], [1.0, 0.0], [0.0, 1.0])
        np.savez(file_of_run, test_logits=logits, test_label=np.zeros(500, int))
    for _ in range(2):
        add(tmp_path / "runs", file)
        assert len(load(file)) == before + 2


def test_the_picture_is_small_and_shows_each_method(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    Image.new("RGB", (918, 96 * 15), "green").save(sheet)
    draw(sheet, tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size < 200_000
    assert [len(rows) for _, rows in measured()] == [3, 4, 4]
    assert all(row.told.shape == (5, 500) for _, rows in measured() for row in rows)

"""Figures from records alone: which ones are drawn, equal bytes each time, and distinct looks."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import CLASSES, guesses, two_seeds
from PIL import Image

from analysis.errors import calibration_error, confused_pairs, mistakes, reliability
from analysis.figures import FIGURES, save, write_figures
from analysis.palette import OKABE_ITO, look
from analysis.variants import described_variants
from birds.core.spec import UserError

EXP1 = [f"variant={variant} split={split}" for variant in ("A", "B2") for split in (70, 90)]


AGAIN = """
import sys
from pathlib import Path
from analysis.figures import FIGURES, save
runs = Path(sys.argv[1])
(runs / "again").mkdir()
for name in ("accuracy", "reliability", "cost", "latent"):
    save(FIGURES[name](runs, "exp1"), runs / "again" / name)
"""


def test_all_that_the_records_allow_is_drawn_the_same_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two_seeds(tmp_path, *EXP1)
    missing = write_figures(tmp_path, "exp1")
    drawn = set(FIGURES) - set(missing)
    assert set(missing) & {"noise", "pareto"} == {"noise", "pareto"}
    assert {
        "accuracy",
        "differences",
        "robustness",
        "cost",
        "curves",
        "confusion",
        "reliability",
        "errors",
        "latent",
    } <= drawn
    said = capsys.readouterr().out
    assert "birds latency" in said
    assert "make sweep-noise" in said
    folder = tmp_path / "figures" / "exp1"
    assert len(list(folder.iterdir())) == 3 * len(drawn)
    command = [sys.executable, "-c", AGAIN, str(tmp_path)]
    env = {**os.environ, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"}
    subprocess.run(command, check=True, env=env)
    for file in (tmp_path / "again").iterdir():
        assert file.read_bytes() == (folder / file.name).read_bytes(), file


def test_a_sweep_over_noise_gets_its_curve(tmp_path: Path) -> None:
    two_seeds(tmp_path, "variant=DAE noise=0.1", "variant=DAE noise=0.4", name="noise")
    axis = FIGURES["noise"](tmp_path, "noise").axes[0]
    assert axis.lines[0].get_xdata() == pytest.approx([10, 40])


def test_single_seeds_stand_beside_their_mean(tmp_path: Path) -> None:
    two_seeds(tmp_path, "variant=A split=90")
    _, seeds, mean, _ = FIGURES["accuracy"](tmp_path, "exp1").axes[0].lines
    assert len(seeds.get_xdata()) == 2
    assert np.mean(seeds.get_xdata()) == pytest.approx(mean.get_xdata()[0])


def test_latent_spaces_are_drawn_by_species_and_by_cluster(tmp_path: Path) -> None:
    two_seeds(tmp_path, *EXP1)
    figure = FIGURES["latent"](tmp_path, "exp1")
    titles = [axis.get_title() for axis in figure.axes]
    agree = "by cluster: 67 % agree\n(by chance 40 %)"
    assert titles == [
        "autoencode 90/10\nby true class",
        agree,
        "autoencode 70/30\nby true class",
        agree,
    ]
    assert [len(line.get_xdata()) for axis in figure.axes[:2] for line in axis.lines] == [
        20,
        20,
        20,
        20,
        40,
        0,
    ]
    assert [line.get_color() for line in figure.axes[0].lines] == list(OKABE_ITO[:3])
    for file in tmp_path.glob("*/latent/latent.npz"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="birds latent exp1"):
        FIGURES["latent"](tmp_path, "exp1")


def test_lost_predictions_say_what_to_do(tmp_path: Path) -> None:
    two_seeds(tmp_path, "variant=A split=90")
    for file in tmp_path.glob("*/predictions.npz"):
        file.unlink()
    with pytest.raises(UserError, match="run it again"):
        FIGURES["reliability"](tmp_path, "exp1")


def test_looks_differ_in_hatch_and_in_marker_or_grey() -> None:
    looks = [look(name) for name in described_variants()]
    assert len({one.hatch for one in looks}) == len(looks) >= 9
    for one, two in combinations(looks, 2):
        assert one.marker != two.marker or abs(grey(one.colour) - grey(two.colour)) > 10, (one, two)
    for a, b in combinations(("A", "B0", "B1", "B2", "DAE", "DVAE"), 2):
        assert look(a).marker != look(b).marker
        assert abs(grey(look(a).colour) - grey(look(b).colour)) > 10, (a, b)
    assert look("MINE") == look("MINE")
    assert look("MINE").colour not in {one.colour for one in looks}


def grey(colour: str) -> float:
    return float(np.asarray(Image.new("RGB", (1, 1), colour).convert("L"))[0, 0])


def test_colours_or_markers_differ_for_the_colour_blind() -> None:
    """Two variants have different colours, or different markers if not both belong to the
    autoencoders' study.
    """
    study = {"A", "B0", "B1", "B2", "DAE", "DVAE", "SimCLR", "KM", "FixMatch"}
    for matrix in BLIND.values():
        for a, b in combinations(described_variants(), 2):
            distance = np.linalg.norm(matrix @ (rgb(look(a).colour) - rgb(look(b).colour)))
            has_own_marker = look(a).marker != look(b).marker
            assert distance > 0.1 or (has_own_marker and not study >= {a, b}), (a, b)


def rgb(colour: str) -> np.ndarray:
    return (np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255) ** 2.2


BLIND = {  # complete dichromacy in linear RGB: Machado et al. 2009, 10.1109/TVCG.2009.113
    "protan": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deutan": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritan": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}


def test_the_reliability_diagram_has_the_records_calibration_error() -> None:
    import torch

    from birds.metrics.classification import classification_metrics

    label, logits = guesses(3, 400)
    measured = classification_metrics(torch.from_numpy(logits), torch.from_numpy(label))[
        "calibration_error"
    ]
    assert calibration_error(reliability(logits, label)) == pytest.approx(measured, abs=1e-5)


def test_mistakes_know_how_sure_the_model_was() -> None:
    logits = np.log(np.array([[0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]]))
    wrong = mistakes(logits.astype(np.float32), np.array([1, 1, 0]))
    assert wrong["row"].tolist() == [0, 2]
    assert wrong["place"].tolist() == [2, 3]
    assert wrong["confidence"].tolist() == pytest.approx([0.5, 0.7])
    assert wrong["margin"].tolist() == pytest.approx([0.1, 0.5])


def test_confused_pairs_leave_out_what_was_right() -> None:
    pairs = confused_pairs(np.array([[9, 1, 0], [0, 8, 2], [0, 0, 10]]), CLASSES)
    expected = {
        "true": ["WREN", "ROBIN"],
        "said": ["FINCH", "WREN"],
        "images": [2, 1],
        "share": [0.2, 0.1],
    }
    pd.testing.assert_frame_equal(pairs.reset_index(drop=True), pd.DataFrame(expected))


def test_save_writes_only_what_was_asked_for(tmp_path: Path) -> None:
    two_seeds(tmp_path, "variant=A split=90")
    files = save(FIGURES["cost"](tmp_path, "exp1"), tmp_path / "cost.v1", formats=("svg",))
    assert [file.name for file in files] == ["cost.v1.svg"]

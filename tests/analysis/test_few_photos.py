"""Tables, comparisons and figures down to one test photo and one seed.

Results that need more data are left out, and proportions stay between 0 and 1.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from made_up import print_comparisons, spec
from PIL import Image

from analysis.answer import print_sweep_table
from analysis.closeups import confusion_figure, reconstructions_figure, reliability
from analysis.comparisons import compare_sweep, sentence, verdicts
from analysis.dashboard.page import write_page
from analysis.figures import write_figures
from analysis.intervals import as_proportions
from analysis.seeds import next_seeds
from analysis.tables import sweep_table
from birds.core.record import make_record
from birds.core.spec import UserError
from birds.core.store import RunFolder
from birds.core.sweep import Asked, Sweep, leave_specs, with_needs


def finish(runs_dir: Path, variant: str, seed: int, photos: int) -> str:
    """A finished classifier that was tested on this small number of photos."""
    made = spec(f"variant={variant}", f"seed={seed}")
    leave_specs(runs_dir, with_needs([made]))
    random = np.random.default_rng([seed, photos, len(variant)])
    label = np.arange(photos) % 2
    logits = random.normal(size=(photos, 2)).astype(np.float32)
    right = logits.argmax(1) == label
    confusion = np.zeros((2, 2), int)
    np.add.at(confusion, (label, logits.argmax(1)), 1)
    measured = {
        "classes": ["CROW", "WREN"],
        "test_accuracy": float(right.mean()),
        "test_macro_f1": float(right.mean()),
        "valid_accuracy": 0.5,
        "test_confusion": confusion.tolist(),
        "test_noise": [0.0, 0.2],
        "test_accuracy_noise": [float(right.mean()), 0.0],
        "best_epoch": 0,
        "images_labelled": 2,
        "images_unlabelled": 2,
        "images_test": photos,
        "cost_parameters": 7,
        "cost_parameters_trained": 7,
        "cost_seconds": 1.0,
        "runtime.data_root": "gone",
        "precision": "32",
    }
    arrays = {
        "classes": np.array(["CROW", "WREN"]),
        "test_label": label,
        "test_logits": logits,
        "test_image": np.array([f"{k}.jpg" for k in range(photos)]),
        "test_hits_noise": np.stack([right, np.zeros(photos, bool)], axis=1),
    }
    folder = RunFolder(runs_dir, made)
    with folder.claimed(made):
        np.savez(folder.predictions_file, **arrays)
        folder.finish(make_record(made, "cut", measured))
    return made.key


def sweep_of(runs_dir: Path, photos: int, seeds: int) -> None:
    keys = [finish(runs_dir, variant, s, photos) for variant in ("A", "B2") for s in range(seeds)]
    Sweep(name="few", runs=tuple(Asked(key=key) for key in keys)).save(runs_dir, beside_older=False)


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("photos", [1, 2, 3, 5])
def test_every_output_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], photos: int, seeds: int
) -> None:
    sweep_of(tmp_path, photos, seeds)
    print_sweep_table(tmp_path, "few")
    print_comparisons(tmp_path, "few")
    said = capsys.readouterr().out
    assert "nan" not in said.lower()
    for low, high in re.findall(r"\| \d+\.\d \[([-.\d]+), ([-.\d]+)\]", said):
        assert 0 <= float(low) <= float(high) <= 100
    for low, high in re.findall(r"[-+]\d+\.\d \[([-+.\d]+), ([-+.\d]+)\]", said):
        assert -100 <= float(low) <= float(high) <= 100
    write_page(tmp_path, "few")
    table, _ = sweep_table(tmp_path, "few")
    assert table["accuracy_low"].isna().all() == (photos == 1)


def test_figures_of_one_test_photo(tmp_path: Path) -> None:
    sweep_of(tmp_path, photos=1, seeds=2)
    missing = write_figures(tmp_path, "few", tmp_path / "figures")
    assert not {"accuracy", "macro_f1", "confusion", "reliability", "robustness"} & set(missing)


def test_one_photo_gives_no_interval_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_of(tmp_path, photos=1, seeds=3)
    print_sweep_table(tmp_path, "few")
    said = " ".join(capsys.readouterr().out.split())
    assert "A single test image gives no interval" in said
    [verdict] = verdicts(compare_sweep(tmp_path, "few"))
    assert verdict.word == "cannot tell"
    assert "single test image" in sentence(verdict)
    assert "sola imagen" in sentence(verdict, "es")
    with pytest.raises(UserError, match="single test image"):
        next_seeds(tmp_path, "few", 2)


def test_the_ends_of_an_interval_stay_proportions() -> None:
    assert as_proportions(-0.73, 1.39) == (0, 1)
    assert np.isnan(as_proportions(np.nan, np.nan)).all()


@pytest.mark.parametrize("photos", [1, 2, 4, 5, 7, 8])
@pytest.mark.parametrize("rows", [4, 5])
def test_restored_images_however_few(photos: int, rows: int) -> None:
    picture = Image.new("RGB", (128 * photos, 128 * rows))
    figure = reconstructions_figure({"autoencode": picture}, {"autoencode": 128})
    [axis] = figure.axes
    assert len(axis.get_yticks()) == rows
    assert figure.get_figheight() < 6


def test_a_species_without_test_images_and_a_single_bin() -> None:
    confusion_figure(np.array([[1, 0], [0, 0]]), ["CROW", "WREN"], "A").draw_without_rendering()
    bins = reliability(np.array([[3.0, 0.0]], np.float32), np.array([0]))
    assert len(bins) == 1

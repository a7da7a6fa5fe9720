"""Tables and intervals from records alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import finish, print_tables, spec, sweep

from analysis.intervals import image_bootstrap, macro_f1, seed_interval
from analysis.tables import as_markdown, sweep_table
from birds.core.spec import UserError
from birds.core.store import RunFolder


def three_seeds(runs_dir: Path) -> None:
    keys = []
    for seed, accuracy in enumerate((0.5, 0.6, 0.7)):
        made = spec("variant=B2", f"seed={seed}")
        [needed] = made.needs
        finish(runs_dir, needed, cost_seconds=100.0)
        keys.append(finish(runs_dir, made, test_accuracy=accuracy, test_macro_f1=accuracy - 0.1))
    sweep(runs_dir, "seeds", [*keys, spec("variant=A").key])


def test_seeds_become_one_row_with_students_interval(tmp_path: Path) -> None:
    three_seeds(tmp_path)
    table, missing = sweep_table(tmp_path, "seeds")
    row = table.iloc[0]
    assert (row["seeds"], row["variant"], row["pretraining_seconds"]) == (3, "B2", 100.0)
    assert row["accuracy"] == pytest.approx(0.6)
    assert row["accuracy_high"] - row["accuracy"] == pytest.approx(4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert missing == [spec("variant=A").key]


def test_the_table_reads_as_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three_seeds(tmp_path)
    table, _missing = sweep_table(tmp_path, "seeds")
    print_tables(tmp_path, "seeds")
    golden = (Path(__file__).parents[1] / "golden" / "table.md").read_text()
    assert (tmp_path / "tables" / "seeds.md").read_text() == golden
    assert as_markdown(table) in capsys.readouterr().out


def test_latex_has_what_markdown_has(tmp_path: Path) -> None:
    three_seeds(tmp_path)
    table, _missing = sweep_table(tmp_path, "seeds")
    print_tables(tmp_path, "seeds")
    latex = (tmp_path / "tables" / "seeds.tex").read_text()
    cells = [cell.strip() for cell in as_markdown(table).splitlines()[2].strip("|").split("|")]
    assert f"{' & '.join(cells)} \\\\" in latex
    assert latex.startswith(r"\begin{tabular}{rlrrrrrrr}")
    assert r"accuracy \% & macro F1 \%" in latex
    assert latex.count("rule\n") == 3


def test_one_seed_gets_the_interval_over_its_test_images(tmp_path: Path) -> None:
    made = spec("variant=A")
    key = finish(tmp_path, made, test_accuracy=0.8, test_macro_f1=0.8)
    label = np.arange(100) % 2
    logits = np.eye(2)[np.where(np.arange(100) < 80, label, 1 - label)]
    np.savez(RunFolder(tmp_path, key).predictions_file, test_label=label, test_logits=logits)
    sweep(tmp_path, "one", [key])
    row = sweep_table(tmp_path, "one")[0].iloc[0]
    assert 0.70 < row["accuracy_low"] < 0.75
    assert 0.85 < row["accuracy_high"] < 0.90


def test_what_else_was_swept_tells_rows_apart(tmp_path: Path) -> None:
    words = ["split=90 seed=0 noise=0.1", "split=90 seed=0 noise=0.4"]
    made = [spec("variant=DAE", *word.split()) for word in words]
    sweep(
        tmp_path,
        "noise",
        [finish(tmp_path, one, test_accuracy=0.5, test_macro_f1=0.5) for one in made],
        words,
    )
    table, _ = sweep_table(tmp_path, "noise")
    assert table["noise"].tolist() == ["0.1", "0.4"]
    assert [line.split("|")[2:4] for line in as_markdown(table).splitlines()[2:]] == [
        [" DAE     ", " 0.1   "],
        [" DAE     ", " 0.4   "],
    ]


def test_the_csv_has_validation_and_accuracy_under_noise(tmp_path: Path) -> None:
    keys = []
    for seed, accuracies in enumerate(([0.8, 0.6], [0.6, 0.2])):
        measured = {"test_accuracy": accuracies[0], "test_macro_f1": 0.5, "valid_accuracy": 0.9}
        noisy = {"test_noise": [0.0, 0.4], "test_accuracy_noise": accuracies}
        keys.append(finish(tmp_path, spec("variant=A", f"seed={seed}"), **measured, **noisy))
    sweep(tmp_path, "exp2", keys)
    table, _missing = sweep_table(tmp_path, "exp2")
    print_tables(tmp_path, "exp2")
    noise = pd.read_csv(tmp_path / "tables" / "exp2-noise.csv").iloc[0]
    assert (noise["split"], noise["0 % noise"], noise["40 % noise"]) == ("90/10", 70.0, 40.0)
    assert r"90/10 & A & 70.0 & 40.0 \\" in (tmp_path / "tables" / "exp2-noise.tex").read_text()
    row = table.iloc[0]
    assert row["valid_accuracy"] == pytest.approx(0.9)
    assert (row["accuracy_noise_0"], row["accuracy_noise_0.4"]) == (
        pytest.approx(0.7),
        pytest.approx(0.4),
    )


@pytest.mark.parametrize(("tested", "is_said"), [(100, False), (40, True)])
def test_the_table_under_noise_says_that_it_is_of_a_sample(
    tmp_path: Path, tested: int, is_said: bool
) -> None:
    noisy = {"test_noise": [0.0, 0.4], "test_accuracy_noise": [0.6, 0.2]}
    counts = {"images_test": 100, "test_noise_images": tested}
    measured = {"test_accuracy": 0.6, "test_macro_f1": 0.5, "valid_accuracy": 0.9}
    key = finish(tmp_path, spec("variant=A"), **measured, **noisy, **counts)
    sweep(tmp_path, "exp2", [key])
    print_tables(tmp_path, "exp2")
    said = (tmp_path / "tables" / "exp2-noise.md").read_text()
    assert ("of 40 random ones of the 100 test images" in said) == is_said


def test_no_such_sweep_names_the_nearest(tmp_path: Path) -> None:
    sweep(tmp_path, "exp1", [])
    with pytest.raises(UserError, match="did you mean exp1"):
        sweep_table(tmp_path, "exp2")


def test_a_sweep_without_finished_runs_says_so(tmp_path: Path) -> None:
    sweep(tmp_path, "exp1", ["0" * 12])
    with pytest.raises(UserError, match="no finished run yet"):
        sweep_table(tmp_path, "exp1")


def test_macro_f1_by_hand() -> None:
    assert macro_f1(np.array([[2, 0], [1, 1]])) == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert macro_f1(np.array([[3, 0, 0], [0, 2, 0], [0, 0, 0]])) == pytest.approx(1.0)


def test_resampling_images_of_thousands_of_classes_fits_into_memory() -> None:
    label = np.arange(3000)
    found = image_bootstrap(label, np.where(label % 4, label, 0), 3000)
    assert found["accuracy"] == pytest.approx((0.735, 0.765), abs=0.01)
    assert found["balanced_accuracy"] == pytest.approx(found["accuracy"], abs=0.02)
    assert found["macro_f1"][0] < 0.75


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    random, covered = np.random.default_rng(0), 0
    for _ in range(200):
        label = random.integers(0, 3, 150)
        predicted = np.where(random.random(150) < 0.7, label, (label + 1) % 3)
        low, high = image_bootstrap(label, predicted, 3)["accuracy"]
        covered += low <= 0.7 <= high
    assert 180 <= covered <= 199


def test_an_interval_over_one_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        seed_interval([0.5])

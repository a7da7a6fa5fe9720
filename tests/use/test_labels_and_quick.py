"""Numbers of labels: curves, answers, which images to label next; and the first look."""

from __future__ import annotations

import csv
import itertools
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_data import images

from analysis.label_simulation import simulation_words
from analysis.learning_curves import Curve, fit_power_law, interval, joint_draws
from birds.cli import main
from birds.data.split import cut_of
from birds.use.cross_validation import folds, group_numbers
from birds.use.label_next import Simulated, choose

COUNTS = np.array([1.0, 2, 5, 10, 20])


def birds(striped: Any, *words: object, status: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--runs-dir", str(striped.runs_dir), *map(str, words)])
    assert ended.value.code == status


def test_labels_are_nested() -> None:
    table = images()
    cuts = [cut_of(table, split=0, labels_per_class=n, seed=3) for n in (1, 2, 5, 10)]
    for fewer, more in itertools.pairwise(cuts):
        assert set(fewer.labelled) < set(more.labelled)


def test_a_curve_is_found_again_and_read_backwards() -> None:
    true = Curve(*(np.array([value]) for value in (0.92, 0.5, 0.7)))
    found = fit_power_law(COUNTS, true.at(COUNTS), np.ones(5))
    assert np.allclose(found.at(COUNTS), true.at(COUNTS), atol=2e-3)
    assert found.labels_for(0.8)[0] == pytest.approx(true.labels_for(0.8)[0], rel=0.05)
    assert found.at(80.0)[0] == pytest.approx(true.at(80.0)[0], abs=0.01)
    assert found.labels_for(0.99)[0] == np.inf


def test_fits_stay_within_what_an_accuracy_can_be() -> None:
    rising = fit_power_law(COUNTS, np.array([[0.5, 0.6, 0.8, 0.95, 1.0]]), np.ones(5))
    falling = fit_power_law(COUNTS, np.array([[0.9, 0.8, 0.7, 0.6, 0.5]]), np.ones(5))
    assert rising.a[0] <= 1
    assert rising.b[0] > 0
    assert falling.b[0] == 0


def test_draws_hold_the_truth_as_often_as_they_say() -> None:
    """Seeds and images both vary; about 95 % of the 95 % intervals contain the true mean."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        by_seed = random.normal(0, 0.06, (5, 1))
        by_image = random.normal(0, 0.2, (1, 80))
        right = 0.6 + by_seed + by_image + random.normal(0, 0.2, (5, 80))
        low, high = interval(joint_draws(right[None], 400)[:, 0])
        held += low <= 0.6 <= high
    assert 0.85 <= held / 60 <= 1


def sweep_over_labels(striped: Any) -> None:
    asked = []
    for count in (1, 2, 4, 8):
        for seed in (0, 1):
            for head, name in (("logistic", "Logistic"), ("knn", "KNN")):
                words = {"labels_per_class": count, "seed": seed, "variant": name}
                spec = striped.made.trained(head=head, **words)
                overrides = [f"data.labels_per_class={count}", f"variant={name}", f"seed={seed}"]
                asked.append({"key": spec.key, "overrides": overrides})
    file = striped.runs_dir / "sweeps" / "many" / "sweep.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"name": "many", "runs": asked}))


def test_a_sweep_over_labels_answers_its_questions(
    striped: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_over_labels(striped)
    key = striped.made.trained(labels_per_class=2).key
    birds(striped, "labels", "many", "--reach", "60", "--next", "5", "--run", key)
    said = capsys.readouterr().out
    assert "Logistic" in said
    assert "60 %" in said
    assert "2 seeds crossed with" in said
    out = striped.runs_dir / "labels" / "many"
    assert {"labels.png", "labels.md", "next.png", "next.csv"} <= {f.name for f in out.iterdir()}
    with (out / "next.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["label"] for row in rows[:5]] == [""] * 5
    labelled = [row for row in rows if row["label"] and row["part"] == "train"]
    assert len(labelled) == 6, "two of each class"
    for row in labelled:
        assert row["file"].split("/")[1] == row["label"]
    read_as_table(striped, out / "next.csv")


def read_as_table(striped: Any, file: Path) -> None:
    from birds.cli.data import chosen_source

    items = chosen_source(striped.root, "table", [f"file={file}"]).scan().items
    assert len(items) == 60
    assert sum(item.label is not None for item in items if item.part == "train") == 6


@pytest.mark.parametrize("words", [["--reach", "120"], ["--next", "0"]])
def test_odd_questions_are_refused(striped: Any, words: list[str]) -> None:
    birds(striped, "labels", "nosuch", *words, status=2)


def test_chosen_images_are_unsure_and_apart() -> None:
    """Two tight groups of uncertain images among certain ones: one of each group is chosen."""
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(k, 0.01, (10, 4)) for k in (0.0, 5.0, 9.0)])
    features[:10] = random.normal(0, 0.01, (10, 4)) + np.array([3, 0, 0, 0])
    sure = np.tile([0.98, 0.02], (10, 1))
    unsure = np.tile([0.52, 0.48], (10, 1))
    probability = np.concatenate([unsure, sure, unsure])
    taken = choose(probability, features.astype(np.float32), 2, 0)
    assert {k // 10 for k in taken} == {0, 2}


def test_a_simulation_says_when_choosing_brings_nothing() -> None:
    random = np.random.default_rng(0)
    right = (random.random((2, 3, 4, 50)) < 0.7).astype(float)
    assert "No difference is shown" in simulation_words(Simulated((6, 12, 18), right, "x"))
    right[0, 1:] = 1
    assert "Choosing is better" in simulation_words(Simulated((6, 12, 18), right, "x"))


def test_a_first_look_at_a_folder_and_at_a_table(
    striped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["file,label"]
    for k, file in enumerate(sorted((striped.root / "train").rglob("*.png"))):
        name = file.relative_to(striped.root)
        rows.append(f"{name},{file.parent.name if k % 2 else ''}")
    table = tmp_path / "some.csv"
    table.write_text("\n".join(rows) + "\n")
    out = tmp_path / "page"
    birds(striped, "quick", table, "--root", striped.root, "--out", out)
    said = capsys.readouterr().out
    assert "Used 18 of 18 labelled and 42 of 42 unlabelled photos" in said
    assert "python train.py -m sweeps=labels data=table" in said
    page = (out / "quick.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "Cross-validated accuracy" in page
    birds(striped, "quick", tmp_path / "nosuch", status=2)
    birds(striped, "quick", tmp_path, status=2)


def test_a_first_look_never_tears_a_group_apart(
    striped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten images of each class in groups of five: two folds; a class of one group is refused."""
    labels, groups = np.repeat([0, 1, 2], 10), np.repeat(np.arange(6), 5)
    made = folds(labels, groups, 0)
    assert len(made) == 2
    for train, held_out in made:
        assert not set(groups[train]) & set(groups[held_out])
    assert len(folds(labels, np.arange(30), 0)) == 5
    assert list(group_numbers(["a", None, "a", ""])) == [0, 1, 0, 2]

    rows = ["file,label,group"]
    for file in sorted((striped.root / "train").rglob("*.png")):
        name, number = file.relative_to(striped.root), len(rows)
        rows.append(f"{name},{file.parent.name},{file.parent.name[0]}{number % 2}")
    table = tmp_path / "groups.csv"
    table.write_text("\n".join(rows) + "\n")
    birds(striped, "quick", table, "--root", striped.root, "--out", tmp_path / "page")
    assert "held out together (6 groups" in capsys.readouterr().out
    one_group = [row[:-1] + "0" for row in rows[1:]]
    table.write_text("\n".join([rows[0], *one_group]) + "\n")
    birds(striped, "quick", table, "--root", striped.root, "--out", tmp_path / "page", status=2)
    assert "are all of one group" in capsys.readouterr().err


def test_a_first_look_takes_labelled_and_unlabelled_apart_and_names_a_whole_command(
    striped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(striped.root / "train", photos / "labelled")
    (photos / "unlabelled").mkdir()
    for file in sorted((striped.root / "test").rglob("*.png")):
        shutil.copy(file, photos / "unlabelled" / f"{file.parent.name}-{file.name}")
    with pytest.raises(SystemExit) as ended:
        main(["quick", str(photos), "--runs-dir", str(tmp_path / "runs")])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    [command] = [line for line in said.splitlines() if line.startswith("  python train.py")]
    words = shlex.split(command)
    assert f"data.root={photos / 'labelled'}" in words
    assert f"data.unlabelled={photos / 'unlabelled'}" in words
    assert "variant=Logistic,ClassMeans,SelfTraining,A" in words
    assert (tmp_path / "runs" / "quick" / "labelled" / "quick.html").is_file()


def test_without_unlabelled_photos_some_labels_are_left_out_for_self_training(
    striped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight photos of a class: five are left to train on, and five labels would use them all."""
    for folder in sorted((striped.root / "train").iterdir()):
        for file in sorted(folder.glob("*.png"))[:8]:
            (tmp_path / "few" / folder.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "few" / folder.name / file.name)
    birds(striped, "quick", tmp_path / "few", "--out", tmp_path / "page")
    assert "data.labels_per_class=1,2 " in capsys.readouterr().out


def test_photos_to_label_next_need_no_curve(
    striped: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    key = striped.made.trained(labels_per_class=2, seed=0, head="logistic").key
    file = striped.runs_dir / "sweeps" / "single" / "sweep.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"name": "single", "runs": [{"key": key, "overrides": []}]}))
    birds(striped, "labels", "single", "--next", 4)
    said = capsys.readouterr().out
    assert "No curve: " in said
    assert "4 of" in said
    birds(striped, "labels", "single", status=2)

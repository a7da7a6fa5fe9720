"""The end of a sweep's output: a table that fits a terminal, and the answer in sentences."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_up import finish, spec, sweep, two_seeds

from analysis.answer import answer, print_answer, short_table
from analysis.early import early_epochs
from analysis.phases import phase_text
from analysis.tables import sweep_table
from analysis.variants import described_variants, variant
from analysis.verdicts import Verdict, outcome
from birds.core.home import birds_on
from birds.core.sweep import newest_sweep

EXP1 = [f"variant={name} split={split}" for split in (70, 90) for name in ("A", "B1", "B2")]


def test_the_answer_of_exp1_fits_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("birds.core.home.RUNS", tmp_path)
    two_seeds(tmp_path, *EXP1)
    print_answer(tmp_path, "exp1")
    lines = capsys.readouterr().out.splitlines()
    text = " ".join(lines)
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80 or len(str(tmp_path)) > 40
    assert "B2 · pretrained, fine-tuned" in text
    assert "chance is 33.3 %" in text
    assert text.count("Best: ") == text.count("Next: ") == 1
    assert not {"cannot tell", "p = ", "Holm"} & set(text.split())
    print_answer(tmp_path, "exp1", details=True)
    details = capsys.readouterr().out
    assert "p McNemar" in details
    assert "train %" in details
    assert (
        text[text.index("Best: ") :].split()[:6] == details[details.index("Best: ") :].split()[:6]
    )


def test_a_narrow_terminal_loses_the_time_then_the_titles(tmp_path: Path) -> None:
    two_seeds(tmp_path, *EXP1[:3])
    table, _ = sweep_table(tmp_path, "exp1")
    heads = [short_table(table, width).partition("\n")[0] for width in (80, 74, 60, 10)]
    assert "time" in heads[0]
    assert "time" not in heads[1]
    assert "fine-tuned" not in short_table(table, 60)
    assert "accuracy %" in heads[3]


def test_what_is_and_is_not_shown_has_words() -> None:
    clear = Verdict({}, "supported", 0.03, 0.01, 0.05, None, "B2", "A", "90/10", 3, 500, 0.01)
    assert outcome(clear) == "shown to be above"
    assert outcome(clear._replace(word="refuted", gap=-0.03)) == "shown to be below"
    assert outcome(clear._replace(equivalent=True)) == "shown to be within 2 points"
    unclear = clear._replace(word="cannot tell", compared=8)
    assert outcome(unclear) == "not shown after correction for 8 comparisons"
    assert outcome(unclear._replace(low=-0.01)) == "not shown to differ"


def test_one_seed_shows_nothing_and_the_next_command_is_whole(tmp_path: Path) -> None:
    keys = [
        finish(tmp_path, spec(f"variant={name}"), test_accuracy=0.5, test_macro_f1=0.5)
        for name in ("A", "B2")
    ]
    sweep(tmp_path, "one", keys, ["variant=A", "variant=B2"])
    table, missing = sweep_table(tmp_path, "one")
    said = answer(tmp_path, "one", table, missing)
    assert any("birds seeds" in line or line.startswith("  python train.py") for line in said)
    assert not any("shown to be" in line.lower() for line in said)


def test_the_seconds_of_a_run_are_shown_by_phase(tmp_path: Path) -> None:
    keys = []
    for seed, spent in ((0, 10.0), (1, 14.0)):
        seconds = {"cost_seconds_train": spent, "cost_seconds_test": 1.0}
        keys.append(
            finish(tmp_path, spec("variant=A", f"seed={seed}"), test_accuracy=0.5, **seconds)
        )
    keys.append(
        finish(tmp_path, spec("variant=B2"), test_accuracy=0.5, test_macro_f1=0.5)
    )  # an older record
    words = ["variant=A seed=0", "variant=A seed=1", "variant=B2"]
    sweep(tmp_path, "one", keys, words)
    lines = phase_text(tmp_path, "one").splitlines()
    cells = [[word.strip() for word in line.split("|")[1:-1]] for line in lines[:4]]
    assert cells[0] == ["split", "run", "train", "test"]
    assert cells[2:] == [["90/10", "A", "12.0", "1.0"], ["90/10", "B2", "-", "-"]]
    old = finish(tmp_path / "old", spec("variant=A"), test_accuracy=0.5, test_macro_f1=0.5)
    sweep(tmp_path / "old", "one", [old])
    assert phase_text(tmp_path / "old", "one") == ""


def test_a_run_that_kept_an_early_epoch_is_named(tmp_path: Path) -> None:
    made = spec("variant=B2", "budget=laptop")
    pretraining = made.needs[0]
    finish(tmp_path, pretraining, best_epoch=1)
    finish(tmp_path, made, test_accuracy=0.5, test_macro_f1=0.5, best_epoch=12)
    sweep(tmp_path, "early", [made.key])
    [said] = early_epochs(tmp_path, "early")
    assert "autoencode 90/10 seed 0 (epoch 2 of 15)" in said
    assert "B2" not in said


def test_no_name_means_the_newest_sweep(tmp_path: Path) -> None:
    assert newest_sweep(tmp_path) == "last"
    for name, time in (("last", 1), ("exp1", 3), ("exp2", 2)):
        sweep(tmp_path, name, [])
        os.utime(tmp_path / "sweeps" / name / "sweep.json", (time, time))
    assert newest_sweep(tmp_path) == "exp1"


def test_every_variant_has_a_short_name_in_both_languages() -> None:
    for name in described_variants():
        for language in ("en", "es"):
            assert variant(name).named(language).startswith(f"{name} · ")
    assert variant("Nobody").named() == "Nobody"


def test_equal_methods_are_called_equal(tmp_path: Path) -> None:
    names = ("A", "B1", "B2", "DAE", "KM")
    keys = [
        finish(
            tmp_path,
            spec(f"variant={name}"),
            test_accuracy=0.25 * (name != "A"),
            test_macro_f1=0.25,
        )
        for name in names
    ]
    sweep(tmp_path, "tie", keys, [f"variant={name}" for name in names])
    table, missing = sweep_table(tmp_path, "tie")
    [best] = [line for line in answer(tmp_path, "tie", table, missing) if "Best" in line]
    assert "B1" in best
    assert best.endswith("and 1 more are equal, 25.0 % each at 90/10.")


def test_commands_in_messages_keep_the_folder_of_runs(tmp_path: Path) -> None:
    assert birds_on(Path("runs")) == "birds"
    assert birds_on(Path("runs").resolve()) == "birds"
    assert birds_on(tmp_path / "my runs") == f"birds --runs-dir '{tmp_path}/my runs'"

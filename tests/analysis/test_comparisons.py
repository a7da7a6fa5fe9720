"""Comparisons and verdicts from records: pairs, missing runs, mixed records, sentences."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import asked, finish, print_comparisons, sweep

from analysis.comparisons import as_markdown, compare_sweep
from analysis.frame import command, refuse_mixed, sweep_frame
from analysis.seeds import next_seeds, open_runs
from analysis.statistics import crossed
from analysis.tables import noise_table, sweep_table
from analysis.variants import described_variants, variant
from analysis.verdicts import Verdict, sentence, sentences, verdicts
from birds.core.errors import exit_status
from birds.core.spec import UserError
from birds.core.store import RunFolder

IMAGES = 400


def classify(
    runs_dir: Path,
    words: str,
    right: float,
    images: int = IMAGES,
    robust: tuple[str, ...] | None = None,
    **measured: object,
) -> str:
    """A finished run that is right about `right` of the images; the same images are hard for all
    runs.

    With `robust`, all runs are also tested under noise, and the variants in it lose less accuracy.
    """
    made = asked(words)
    if (folder := RunFolder(runs_dir, made)).record() is not None:
        return folder.key
    key = finish(runs_dir, made, test_accuracy=right, test_macro_f1=right, **measured)
    hard = np.random.default_rng(0).random(images)
    luck = np.random.default_rng([made.seed, len(made.variant) + ord(made.variant[0])]).normal(
        0, 0.1, images
    )
    label = np.arange(images) % 2
    said = np.where(hard + luck < right, label, 1 - label)
    names = np.array([f"{n}.jpg" for n in range(images)])
    kept = {"test_label": label, "test_logits": np.eye(2)[said], "test_image": names}
    if robust is not None:  # no noise, then three steps of it
        fall = np.arange(4) * (0.03 if made.variant in robust else 0.15)
        kept["test_hits_noise"] = (hard + luck)[:, None] < right - fall
    np.savez(RunFolder(runs_dir, key).predictions_file, **kept)
    return key


def grown(
    runs_dir: Path,
    seeds: int,
    accuracies: dict[str, float],
    name: str = "exp",
    jitter: float = 0.01,
    robust: tuple[str, ...] | None = None,
) -> list[str]:
    """A sweep at split 90 of these variants with these accuracies; seeds differ by `jitter`."""
    words = [f"split=90 variant={v} seed={s}" for s in range(seeds) for v in accuracies]
    right = [
        a + jitter * (s % 3 - 1) * (-1) ** k
        for s in range(seeds)
        for k, a in enumerate(accuracies.values())
    ]
    keys = [
        classify(runs_dir, word, one, robust=robust) for word, one in zip(words, right, strict=True)
    ]
    sweep(runs_dir, name, keys, words)
    return keys


def only(table: pd.DataFrame) -> Verdict:
    [verdict] = verdicts(table)
    return verdict


def test_a_clear_gap_is_supported_and_its_opposite_refuted(tmp_path: Path) -> None:
    grown(tmp_path, 3, {"A": 0.5, "B2": 0.8})
    table = compare_sweep(tmp_path, "exp")
    row = table.iloc[0]
    assert (row["seeds"], row["images"], row["variant"], row["against"]) == (3, IMAGES, "B2", "A")
    assert 0 < row["low"] < row["gap"] < row["high"]
    assert row["gap"] == pytest.approx(row["accuracy"] - row["accuracy_against"])
    assert (only(table).word, only(table).more_seeds, row["run"]) == ("supported", None, "")
    grown(tmp_path / "other", 3, {"A": 0.8, "B2": 0.5})
    assert only(compare_sweep(tmp_path / "other", "exp")).word == "refuted"


def test_no_gap_between_near_equals_is_refuted_as_too_small(tmp_path: Path) -> None:
    grown(tmp_path, 5, {"A": 0.6, "B2": 0.6}, jitter=0)
    table = compare_sweep(tmp_path, "exp").assign(equivalent=True, p_holm=0.5)
    verdict = only(table)
    assert (verdict.word, verdict.equivalent) == ("refuted", True)
    assert "by less than 2 points" in sentence(verdict)


def test_what_cannot_be_told_says_how_many_more_seeds(tmp_path: Path) -> None:
    grown(tmp_path, 3, {"A": 0.6, "B2": 0.66}, jitter=0.03)
    verdict = only(compare_sweep(tmp_path, "exp"))
    assert verdict.word == "cannot tell"
    assert verdict.more_seeds is not None
    assert f"more seeds (about {verdict.more_seeds}) would decide it" in sentence(verdict)
    assert f"más semillas (en torno a {verdict.more_seeds})" in sentence(verdict, "es")


def test_the_hypotheses_of_the_second_experiment(tmp_path: Path) -> None:
    grown(tmp_path, 2, {"A": 0.6, "B0": 0.3, "B1": 0.5, "B2": 0.7, "DAE": 0.8})
    table = compare_sweep(tmp_path, "exp")
    assert list(zip(table["variant"], table["against"], strict=True)) == [
        ("B1", "A"),
        ("B2", "A"),
        ("DAE", "A"),
        ("DAE", "B2"),
        ("B1", "B0"),
    ]
    assert (table["p_holm"] >= table["p"]).all()
    claims = {verdict.claims["en"]["supported"] for verdict in verdicts(table)}
    assert len(claims) == 4
    assert "A frozen pretrained encoder beats a frozen untrained one" in claims


USUAL = ("pretraining pays", "it pays", "the other choice pays", "it makes robust")


def every_claim() -> dict[str, dict[str, dict[str, str]]]:
    """All claims that a comparison may make: the usual ones and those in variants' YAML files."""
    found = {}
    for name in USUAL:
        found[name] = {language: words[name] for language, words in sentences().items()}
    for name in described_variants():
        for other in variant(name).against:
            if other.claim:
                found[f"{name} against {other.variant}"] = other.claim
    return found


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("name", every_claim())
def test_every_verdict_has_its_sentence(name: str, language: str) -> None:
    claims = every_claim()[name]
    known = Verdict(claims, "supported", 0.03, 0.01, 0.05, None, "B2", "A", "90/10", 3, 500, 0.01)
    cases = [
        known,
        known._replace(word="refuted", gap=-0.03),
        known._replace(word="refuted", equivalent=True),
    ]
    unknown = [
        {"more_seeds": 4, "low": -0.01},
        {"more_seeds": None, "low": -0.01},
        {"more_seeds": 4, "compared": 8},
        {"seeds": 1, "more_seeds": 2},
        {"seeds": 0, "more_seeds": 3},
    ]
    cases += [known._replace(word="cannot tell", **case) for case in unknown]
    said = {sentence(case, language) for case in cases}
    assert len(said) == len(cases)
    assert all("{" not in one and "B2" in one for one in said)
    assert ("3,0" if language == "es" else "3.0") in sentence(known, language)


def test_a_swept_choice_is_compared_at_equal_values_with_one_baseline(tmp_path: Path) -> None:
    words = [
        f"split=90 variant={v} seed={s} noise={n}"
        for n in (0.1, 0.4)
        for v in ("A", "DAE")
        for s in (0, 1)
    ]
    keys = [classify(tmp_path, word, 0.7 if "DAE" in word else 0.5) for word in words]
    assert len(set(keys)) == 6  # A has no option noise
    sweep(tmp_path, "noise", keys, words)
    table = compare_sweep(tmp_path, "noise")
    assert table["noise"].tolist() == ["0.1", "0.4"]
    assert (table["seeds"] == 2).all()
    assert "noise=0.4" in sentence(verdicts(table)[1])


def test_one_seed_gives_no_interval_and_says_what_to_run(tmp_path: Path) -> None:
    grown(tmp_path, 1, {"A": 0.5, "B2": 0.8})
    row = compare_sweep(tmp_path, "exp").iloc[0]
    assert np.isnan([row["low"], row["high"], row["p_holm"]]).all()
    assert row["p_mcnemar"] < 0.001
    verdict = only(compare_sweep(tmp_path, "exp"))
    assert (verdict.word, verdict.more_seeds) == ("cannot tell", 2)
    assert "one seed gives no interval" in sentence(verdict)
    assert row["run"] == "python train.py -m split=90 variant=A,B2 seed=0,1,2"


def test_a_missing_variant_leaves_a_hole_with_its_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grown(tmp_path, 2, {"B2": 0.8})
    row = compare_sweep(tmp_path, "exp").iloc[0]
    assert (row["seeds"], row["missing"]) == (0, "A seed 0, A seed 1")
    print_comparisons(tmp_path, "exp")
    out = capsys.readouterr().out
    assert "python train.py -m split=90 variant=B2,A seed=0,1,2" in out
    assert "no finished seed in common" in out


def test_a_half_written_record_counts_as_missing(tmp_path: Path) -> None:
    keys = grown(tmp_path, 3, {"A": 0.5, "B2": 0.8})
    record = RunFolder(tmp_path, keys[-1]).record_file
    record.write_text(record.read_text()[:100])
    row = compare_sweep(tmp_path, "exp").iloc[0]
    assert (row["seeds"], row["missing"]) == (2, "B2 seed 2")
    assert row["run"].endswith("seed=0,1,2")


def test_no_records_at_all(tmp_path: Path) -> None:
    sweep(tmp_path, "exp", ["0" * 12])
    assert compare_sweep(tmp_path, "exp").empty
    assert verdicts(compare_sweep(tmp_path, "exp")) == []
    with pytest.raises(UserError, match="has no two variants to compare"):
        next_seeds(tmp_path, "exp", 2)


def test_a_record_of_another_recipe_is_left_out_with_a_warning(tmp_path: Path) -> None:
    keys = grown(tmp_path, 2, {"A": 0.5, "B2": 0.8})
    record = RunFolder(tmp_path, keys[0]).record_file
    record.write_text(json.dumps(json.loads(record.read_text()) | {"recipe": 99}))
    with pytest.warns(UserWarning, match="recipe 99"):
        assert compare_sweep(tmp_path, "exp").iloc[0]["missing"] == "A seed 0"


def test_mixed_precisions_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"split=90 variant={v} seed={s}" for s in (0, 1) for v in ("A", "B2")]
    keys = [
        classify(tmp_path, w, 0.5, precision="bf16" if w.endswith("B2 seed=1") else "32")
        for w in words[:3]
    ]
    keys.append(classify(tmp_path, words[3], 0.5, precision="bf16"))
    sweep(tmp_path, "exp", keys, words)
    with pytest.raises(
        UserError, match=rf"run {keys[3]} \(B2 split=90 seed=1\) has precision=bf16.*32"
    ):
        compare_sweep(tmp_path, "exp")
    with pytest.raises(UserError, match="precision"):
        sweep_frame(tmp_path, "exp")
    assert exit_status(lambda: print_comparisons(tmp_path, "exp")) == 2
    assert len(capsys.readouterr().err.splitlines()) <= 2


@pytest.mark.parametrize("column", ["recipe", "data_digest", "precision"])
def test_whatever_is_never_mixed_is_refused(column: str) -> None:
    frame = pd.DataFrame(
        {"key": list("abc"), "variant": "A", "split": 90, "seed": range(3), column: ["x", "x", "y"]}
    )
    with pytest.raises(
        UserError, match=f"run c .* has {column}=y, the runs to compare it with have x: "
    ):
        refuse_mixed(frame)
    refuse_mixed(frame[:2])


def test_the_comparisons_read_as_they_did(tmp_path: Path) -> None:
    grown(tmp_path, 3, {"A": 0.6, "B1": 0.4, "B2": 0.8, "DAE": 0.82})
    print_comparisons(tmp_path, "exp")
    golden = (Path(__file__).parents[1] / "golden" / "comparisons.md").read_text()
    assert (tmp_path / "tables" / "exp_comparisons.md").read_text() == golden
    written = pd.read_csv(tmp_path / "tables" / "exp_comparisons.csv")
    assert written["gap"].tolist() == pytest.approx(compare_sweep(tmp_path, "exp")["gap"].tolist())


def test_noise_has_comparisons_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DAE equals A on clean images but loses less under noise: only this is a verdict."""
    keys = grown(tmp_path, 3, {"A": 0.6, "DAE": 0.6}, robust=("DAE",))
    print_comparisons(tmp_path, "exp")
    said = capsys.readouterr().out
    assert "- It cannot be decided whether pretraining pays: DAE against A" in said
    assert "Under salt and pepper on the test images, mean over" in said
    assert "- Under salt and pepper there is a gain: DAE is above A at 90/10" in said
    clean, noisy = (compare_sweep(tmp_path, "exp", noisy=noisy) for noisy in (False, True))
    hits = [
        np.load(RunFolder(tmp_path, key).predictions_file)["test_hits_noise"] for key in keys[::2]
    ]
    row = noisy[(noisy["variant"] == "DAE") & (noisy["against"] == "A")].iloc[0]
    assert row["accuracy_against"] == pytest.approx(np.mean(hits, axis=(0, 1))[1:].mean())
    assert set(zip(clean["variant"], clean["against"], strict=True)) == set(
        zip(noisy["variant"], noisy["against"], strict=True)
    )
    written = pd.read_csv(tmp_path / "tables" / "exp-noise_comparisons.csv")
    assert written["gap"].tolist() == pytest.approx(noisy["gap"].tolist())


def test_without_hits_under_noise_there_is_no_word_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grown(tmp_path, 3, {"A": 0.6, "DAE": 0.6})
    print_comparisons(tmp_path, "exp")
    assert "salt and pepper on the test images" not in capsys.readouterr().out


def test_accuracy_under_noise_has_its_interval(tmp_path: Path) -> None:
    shares = {"test_noise": [0.0, 0.05, 0.1, 0.2], "test_accuracy_noise": [0.6, 0.5, 0.4, 0.3]}
    keys = [
        classify(tmp_path, f"split=90 variant=A seed={s}", 0.6, robust=(), **shares)
        for s in range(3)
    ]
    sweep(tmp_path, "exp", keys, [f"split=90 variant=A seed={s}" for s in range(3)])
    table = sweep_table(tmp_path, "exp")[0]
    hits = np.array(
        [np.load(RunFolder(tmp_path, key).predictions_file)["test_hits_noise"] for key in keys],
        float,
    )
    for k, share in enumerate(("0", "0.05", "0.1", "0.2")):
        assert table[f"half_noise_{share}"].iloc[0] == pytest.approx(
            crossed(hits[:, :, k]).satterthwaite()
        )
    shown = noise_table(table).iloc[0]
    assert shown["10 % noise"].startswith("40.0 [")
    RunFolder(tmp_path, keys[0]).predictions_file.unlink()
    assert noise_table(sweep_table(tmp_path, "exp")[0]).iloc[0]["10 % noise"] == "40.0"


def test_the_cells_interval_is_over_seeds_and_images(tmp_path: Path) -> None:
    grown(tmp_path, 3, {"A": 0.6})
    row = sweep_table(tmp_path, "exp")[0].iloc[0]
    assert row["interval_over"] == "seeds and test images"
    for metric in ("accuracy", "macro_f1"):
        assert (
            0.04 < row[f"{metric}_high"] - row[metric] < 0.09
        )  # images alone: 1.96 sqrt(0.6 0.4 / 400) = 0.048


def test_further_seeds_come_as_a_command_until_it_is_done(tmp_path: Path) -> None:
    grown(tmp_path, 3, {"A": 0.5, "B2": 0.8}, "exp", jitter=0.005)
    wide = next_seeds(tmp_path, "exp", 3)
    assert "Next seeds: 3, 4" in wide
    assert wide.splitlines()[-1] == command(tmp_path, "exp", seeds=[3, 4])
    assert wide.splitlines()[-1].endswith("variant=A,B2 seed=0,1,2,3,4")
    assert next_seeds(tmp_path, "exp", 40).endswith("Done: every interval is within 40 points.")
    assert "needs more test images" in next_seeds(tmp_path, "exp", 0.1)


def test_a_comparison_is_open_until_it_is_narrow_or_its_gap_shows(tmp_path: Path) -> None:
    keys = grown(tmp_path, 3, {"A": 0.3, "B2": 0.9}, jitter=0.005)
    assert open_runs(tmp_path, "exp", 40)[1] == set()
    assert open_runs(tmp_path, "exp", 1)[1] == set(keys)
    (line,), still = open_runs(tmp_path, "exp", 1, gap=True)
    assert "points at 3 seeds" in line
    assert not still


def test_a_look_counts_the_lowest_seeds_only(tmp_path: Path) -> None:
    grown(tmp_path, 3, {"A": 0.5, "B2": 0.8}, "three")
    grown(tmp_path, 4, {"A": 0.5, "B2": 0.8}, "four")
    assert (
        next_seeds(tmp_path, "four", 1).splitlines()[0]
        == next_seeds(tmp_path, "three", 1).splitlines()[0]
    )
    assert "Next seeds: 4 " in next_seeds(tmp_path, "four", 1)


def test_a_gain_over_a_asks_for_more_steps_unless_they_were_swept(tmp_path: Path) -> None:
    grown(tmp_path, 3, {"A": 0.5, "B2": 0.8})
    table = compare_sweep(tmp_path, "exp")
    assert "budget.classify.min_steps=20,80,160" in as_markdown(table)
    table.insert(3, "budget.classify.min_steps", "80")
    assert "make sweep-steps" not in as_markdown(table)
    grown(tmp_path / "other", 3, {"A": 0.8, "B2": 0.5})
    assert "make sweep-steps" not in as_markdown(compare_sweep(tmp_path / "other", "exp"))

"""What is compared with what if encoders, sizes and sweeps differ, or if a user adds variants."""

from pathlib import Path

import numpy as np
import pytest
from made_up import asked, finish, print_comparisons, sweep

from analysis import frame
from analysis.comparisons import as_markdown, compare_sweep
from analysis.palette import look
from analysis.tables import sweep_table
from analysis.variants import FURTHER_COLOURS, REFERENCE, described_variants, variant
from analysis.verdicts import sentence, verdicts
from birds.core.spec import UserError
from birds.core.store import RunFolder

IMAGES = 200


def classify(runs_dir: Path, words: str, right: float, **changed: object) -> str:
    """A finished run that is right about `right` of the images, and tested under its noise."""
    made = asked(words).model_copy(update=changed)
    folder = RunFolder(runs_dir, made)
    if folder.record() is not None:
        return folder.key
    measured = {"test_accuracy": right, "test_macro_f1": right, "precision": "32"}
    if made.noise_levels:
        levels = [0.0, *made.noise_levels]
        measured |= {"test_noise": levels, "test_accuracy_noise": [right] * len(levels)}
    finish(runs_dir, made, **measured)
    chance = np.random.default_rng(made.seed).random(IMAGES)
    label = np.arange(IMAGES) % 2
    said = np.where(chance < right, label, 1 - label)
    names = np.array([f"{n}.png" for n in range(IMAGES)])
    arrays = {"test_label": label, "test_logits": np.eye(2)[said], "test_image": names}
    if made.noise_levels:
        hits = (said == label)[:, None] & np.ones(1 + len(made.noise_levels), bool)
        arrays["test_hits_noise"] = hits
    np.savez(folder.predictions_file, **arrays)
    return folder.key


def ask(runs_dir: Path, name: str, cells: dict[str, float], seeds: int = 3) -> list[str]:
    """A finished sweep of these cells with all seeds, each cell with its accuracy."""
    words = [f"{cell} seed={seed}" for cell in cells for seed in range(seeds)]
    right = [accuracy + 0.01 * seed for accuracy in cells.values() for seed in range(seeds)]
    keys = [classify(runs_dir, word, one) for word, one in zip(words, right, strict=True)]
    sweep(runs_dir, name, keys, words)
    return keys


def rows(runs_dir: Path, name: str) -> list[tuple[str, str, str, int]]:
    table = compare_sweep(runs_dir, name)
    columns = ["variant", "against", "other", "seeds"]
    return [tuple(row) for row in table[columns].itertuples(index=False)]


def test_encoders_are_paired_with_their_own_a(tmp_path: Path) -> None:
    cells = {
        "split=90 variant=A encoder=unet_s": 0.5,
        "split=90 variant=A encoder=unet_m": 0.6,
        "split=90 variant=B2 encoder=unet_s": 0.7,
        "split=90 variant=B2 encoder=unet_m": 0.8,
    }
    ask(tmp_path, "encoders", cells)
    table = compare_sweep(tmp_path, "encoders")
    assert rows(tmp_path, "encoders") == [("B2", "A", "", 3)] * 2
    assert table["encoder"].tolist() == ["unet_s", "unet_m"]
    assert table["gap"].tolist() == pytest.approx([0.2, 0.2], abs=0.05)
    assert sweep_table(tmp_path, "encoders")[0]["encoder"].nunique() == 2


def test_an_encoder_without_its_a_is_paired_with_the_a_there_is(tmp_path: Path) -> None:
    cells = {
        "split=90 variant=A encoder=unet_s image.size=128": 0.5,
        "split=90 variant=B2 encoder=unet_m image.size=224": 0.8,
    }
    ask(tmp_path, "mixed", cells)
    assert rows(tmp_path, "mixed") == [("B2", "A", "encoder=unet_s size=128", 3)]
    table = compare_sweep(tmp_path, "mixed")
    assert table["images"].tolist() == [IMAGES]
    said = sentence(verdicts(table)[0])
    assert "B2 is above A (encoder=unet_s size=128) at 90/10 encoder=unet_m image.size=224" in said
    assert "A (encoder=unet_s size=128)" in as_markdown(table)


def test_a_head_that_a_cannot_have_is_paired_with_a(tmp_path: Path) -> None:
    cells = {
        "split=90 variant=A head=linear": 0.5,
        "split=90 variant=B1 head=linear": 0.55,
        "split=90 variant=B1 head=svm": 0.6,
        "split=90 variant=B1 head=knn": 0.4,
    }
    ask(tmp_path, "heads", cells)
    assert rows(tmp_path, "heads") == [
        ("B1", "A", "", 3),
        ("B1", "A", "head=linear", 3),
        ("B1", "A", "head=linear", 3),
    ]


def test_an_a_of_another_sweep_is_found_and_the_one_most_alike(tmp_path: Path) -> None:
    references = {
        "split=90 variant=A encoder=unet_m": 0.4,
        "split=90 variant=A encoder=unet_s": 0.5,
        "split=90 variant=A encoder=unet_s budget=smoke": 0.1,
        "split=70 variant=A encoder=unet_s": 0.2,
    }
    ask(tmp_path, "before", references)
    own = ask(tmp_path, "now", {"split=90 variant=B2 encoder=unet_s": 0.7})
    table = compare_sweep(tmp_path, "now")
    assert rows(tmp_path, "now") == [("B2", "A", "", 3)]
    assert table["gap"].tolist() == pytest.approx([0.2], abs=0.03)
    assert table["run"].tolist() == [""]
    assert len(set(table["keys"].iloc[0]) - set(own)) == 3
    ask(tmp_path, "small", {"split=90 variant=B2 encoder=unet_m image.size=224": 0.7})
    assert rows(tmp_path, "small") == [("B2", "A", "image.size=128", 3)]
    assert compare_sweep(tmp_path, "small")["gap"].tolist() == pytest.approx([0.3], abs=0.03)


def test_an_a_of_other_images_budget_or_precision_is_no_reference(tmp_path: Path) -> None:
    words = "split=90 variant=A seed=0"
    data = asked(words).data.model_copy(update={"digest": "1" * 12})
    classify(tmp_path, words, 0.5, data=data)
    classify(tmp_path, f"{words} budget=smoke", 0.5)
    ask(tmp_path, "now", {"split=90 variant=B2": 0.7}, seeds=1)
    assert rows(tmp_path, "now") == [("B2", "A", "", 0)]
    assert "variant=B2,A" in compare_sweep(tmp_path, "now")["run"].iloc[0]


def test_a_alone_is_compared_with_its_first_cell(tmp_path: Path) -> None:
    cells = {f"split=90 variant=A image.size={size}": 0.5 + size / 1000 for size in (32, 64, 128)}
    ask(tmp_path, "sizes", cells)
    assert rows(tmp_path, "sizes") == [("A", "A", "size=32", 3)] * 2
    said = [sentence(one) for one in verdicts(compare_sweep(tmp_path, "sizes"))]
    assert "A (size=32) at 90/10 image.size=64" in said[0]
    assert all("other choice" in one for one in said)
    print_comparisons(tmp_path, "sizes")


def test_only_shared_levels_of_noise_are_compared(tmp_path: Path) -> None:
    cells = {
        "split=90 variant=A robustness_levels=[0.1,0.2]": 0.5,
        "split=90 variant=B2 robustness_levels=[0.2,0.4,0.6]": 0.7,
    }
    ask(tmp_path, "levels", cells)
    assert compare_sweep(tmp_path, "levels", noisy=True)["seeds"].tolist() == [3]
    ask(tmp_path, "off", {"split=70 variant=A robustness=false": 0.5, "split=70 variant=B2": 0.7})
    assert compare_sweep(tmp_path, "off", noisy=True)["seeds"].tolist() == [0]
    print_comparisons(tmp_path, "off")


def test_runs_tested_under_noise_on_other_images_are_compared_on_those_that_both_have(
    tmp_path: Path,
) -> None:
    cells = {"split=90 variant=A": 0.5, "split=90 variant=B2": 0.7}
    keys = ask(tmp_path, "samples", cells)
    for key in keys[:3]:  # A
        file = RunFolder(tmp_path, key).predictions_file
        arrays = dict(np.load(file))
        kept = np.arange(0, IMAGES, 3)
        arrays["test_image_noise"] = arrays["test_image"][kept]
        arrays["test_hits_noise"] = arrays["test_hits_noise"][kept]
        np.savez(file, **arrays)
    sides = [frame.noisy_hits(tmp_path, key) for key in (keys[0], keys[3])]
    assert [len(hits) for _, hits in sides] == [len(kept), IMAGES]
    row = compare_sweep(tmp_path, "samples", noisy=True).iloc[0]
    first = [frame.noisy_hits(tmp_path, key)[1][:, 1:] for key in keys[:3]]
    second = [frame.noisy_hits(tmp_path, key)[1][kept, 1:] for key in keys[3:]]
    assert row["gap"] == pytest.approx(np.mean(second) - np.mean(first))


def test_a_variant_that_nobody_foresaw_is_compared_with_a_and_has_a_look(tmp_path: Path) -> None:
    keys, words = [], []
    for seed in range(3):
        for name, right in (("A", 0.5), ("MINE", 0.8)):
            own = {} if name == "A" else {"variant": name}
            keys.append(classify(tmp_path, f"split=90 variant=A seed={seed}", right, **own))
            words.append(f"split=90 variant={name} seed={seed}")
    sweep(tmp_path, "mine", keys, words)
    assert rows(tmp_path, "mine") == [("MINE", "A", "", 3)]
    said = sentence(verdicts(compare_sweep(tmp_path, "mine"))[0])
    assert said.startswith("MINE pays: MINE is above A")
    described = {look(name).colour for name in described_variants()}
    assert look("MINE").colour in set(FURTHER_COLOURS) - described
    assert not described & set(FURTHER_COLOURS)


MINE = """
variant:
  name: MINE
  title: {en: My own, es: La mía}
  against:
    - variant: B2
      claim:
        en: {supported: Mine pays, refuted: Mine does not, cannot tell: Who knows}
  colour: "#123456"
start: init
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a variant; BIRDS_HOME names it."""
    folder = tmp_path / "home"
    (folder / "configs" / "variant").mkdir(parents=True)
    (folder / "configs" / "variant" / "MINE.yaml").write_text(MINE)
    monkeypatch.setenv("BIRDS_HOME", str(folder))
    return folder


def test_a_variant_of_another_folder_is_read_there(home: Path) -> None:
    mine = variant("MINE")
    assert mine.look.colour == "#123456"
    assert mine.look.marker
    assert (mine.titled("es"), variant("B2").titled("xx")) == ("La mía", "B2")
    assert mine.claim("B2")["en"]["cannot tell"] == "Who knows"
    assert [other.variant for other in mine.against] == ["B2"]
    assert {"MINE", REFERENCE} <= set(described_variants())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"#123456"', "blue", "variant.colour=blue"),
        ("refuted: Mine does not, ", "", "a claim has supported, refuted, cannot tell"),
        ("title:", "tittle:", "variant.tittle"),
        ("name: MINE", "name: [", "cannot be read as a variant"),
    ],
)
def test_a_wrong_description_is_refused_with_its_file(
    home: Path, old: str, new: str, said: str
) -> None:
    file = home / "configs" / "variant" / "OTHER.yaml"
    file.write_text(MINE.replace(old, new))
    with pytest.raises(UserError, match=rf"OTHER\.yaml.*{said}"):
        variant("OTHER")


def test_every_variant_of_the_project_says_what_it_is(tmp_path: Path) -> None:
    names = described_variants()
    assert len(names) >= 9
    for name in names:
        own = variant(name)
        assert own.name == name
        assert set(own.title) == {"en", "es"}
        assert {other.variant for other in own.against} <= set(names) - {name}
        assert None not in (own.colour, own.marker, own.hatch)

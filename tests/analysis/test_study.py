"""The study of a sweep from its records: sentences, tables, layers, errors, and a spreadsheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import CLASSES, finish_run, sweep, two_seeds

from analysis.dashboard.study_section import study_section
from analysis.error_tables import class_table, pair_table, rescue, share
from analysis.figures import FIGURES
from analysis.layers import explore_layers
from analysis.overall import choices, overall, write_overall
from analysis.pareto import wilson
from analysis.study import study, write_study
from birds.core.guesses import guesses, telling
from birds.core.spec import UserError
from birds.core.store import RunFolder
from birds.core.thumbnails import read_thumbnails, save_thumbnails

LABEL = np.array([0, 0, 0, 0, 1, 1, 1, 2])
SAID = np.array([[0, 1, 1, 2, 1, 1, 0, 2], [0, 0, 1, 1, 1, 1, 1, 2]])


def test_the_worst_class_comes_first_with_its_interval() -> None:
    table = class_table(SAID, LABEL, CLASSES)
    assert table["class"].tolist() == ["ROBIN", "WREN", "FINCH"]
    assert table["share"].tolist() == pytest.approx([3 / 8, 5 / 6, 1.0])
    assert ((table["low"] <= table["share"]) & (table["share"] <= table["high"])).all()
    assert share(SAID[:1] == LABEL)["low"] == wilson(4 / 8, 8)[0]


def test_pairs_are_counted_over_seeds() -> None:
    pairs = pair_table(SAID, LABEL, CLASSES)
    first = pairs.iloc[0]
    assert (first["true"], first["said"], first["images"]) == ("ROBIN", "WREN", 2.0)
    assert first["share"] == pytest.approx(4 / 8)
    assert pair_table(LABEL[None], LABEL, CLASSES).empty


def test_the_second_guess_rescues_what_it_names() -> None:
    logits = np.log(np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.9, 0.04, 0.06]], np.float32))
    found = rescue([logits], np.array([0, 1, 1]))
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["with_second"] == pytest.approx(2 / 3)
    assert found["truth_second"] == pytest.approx(1 / 2)
    assert found["sure_and_wrong"] == pytest.approx(1 / 2)
    judged = guesses(logits, np.array([0, 1, 1]))
    assert judged.place.tolist() == [1, 2, 3]
    assert judged.margin == pytest.approx([0.3, 0.1, 0.84], abs=1e-5)
    assert telling(logits, np.array([0, 1, 1]), each=1).tolist() == [1, 2]


def leave_layers(folder: RunFolder) -> None:
    """Two layers of 60 test images: classes are mixed in the first and separated in the last."""
    random = np.random.default_rng(0)
    known, asked = np.arange(90) % 3, np.arange(60) % 3
    arrays = {"names": np.array(["convolution 1", "dense"]), "seed": np.array(0)}
    arrays |= {"labelled_label": known, "test_label": asked}
    arrays["test_image"] = np.array([f"test/{CLASSES[k]}/{n}.jpg" for n, k in enumerate(asked)])
    for part, label in (("labelled", known), ("test", asked)):
        arrays[f"{part}_0"] = random.normal(size=(len(label), 5)).astype(np.float32)
        apart = 6 * np.eye(3)[label] + random.normal(size=(len(label), 3))
        arrays[f"{part}_1"] = apart.astype(np.float32)
    folder.study.mkdir()
    np.savez(folder.study / "layers.npz", **arrays)


def test_layers_have_numbers_and_stand_side_by_side(tmp_path: Path) -> None:
    key = finish_run(tmp_path, "variant=A", "split=90", seed=0)
    sweep(tmp_path, "one", [key])
    folder = RunFolder(tmp_path, key)
    with pytest.raises(UserError, match="birds study"):
        explore_layers(folder, 5)
    with pytest.raises(UserError, match="birds study one"):
        FIGURES["layers"](tmp_path, "one")
    leave_layers(folder)
    with pytest.raises(UserError, match="choose 2 to 19"):
        explore_layers(folder, 40)
    mixed, apart = explore_layers(folder, 5).rows
    assert mixed["silhouette"] < 0.1 < 0.5 < apart["silhouette"]
    assert mixed["probe"] < 0.6 < apart["probe_low"] < apart["probe"]
    titles = [axis.get_title() for axis in FIGURES["layers"](tmp_path, "one").axes]
    assert [title.split("\n")[1].partition(":")[0] for title in titles] == [
        "convolution 1",
        "dense",
    ]
    said = " ".join(study(tmp_path, "one").sentences)
    assert "a linear probe is best in layer dense" in said


def test_a_study_is_written_and_shown_on_the_page(tmp_path: Path) -> None:
    two_seeds(tmp_path, "variant=A split=90", "variant=B1 split=90 head=svm")
    folder = write_study(tmp_path, "exp1")
    text = (folder / "study.md").read_text()
    for part in ("## Sizes of the parts", "## Classes with the most errors", "most often it takes"):
        assert part in text
    assert "more epochs would not help" in text
    assert "so there are no epochs to add" in text, "a head without gradients is studied, too"
    assert {"classes.png", "learning.pdf", "confusion.png", "errors.svg", "pairs.csv"} <= {
        file.name for file in folder.iterdir()
    }
    shown = study_section(tmp_path, "exp1")
    assert {table["title"] for table in shown["tables"]} >= {
        "Most confused pairs (images: mean over seeds; share: of the true class)"
    }
    assert [picture["name"] for picture in shown["pictures"]][:2] == ["classes", "learning"]


def test_errors_show_the_small_copies_of_images_without_files(tmp_path: Path) -> None:
    key = finish_run(tmp_path, "variant=A", "split=90", seed=0)
    sweep(tmp_path, "one", [key])

    def colours() -> set[tuple[int, ...]]:
        drawn = set()
        for axis in FIGURES["errors"](tmp_path, "one").axes:
            for image in axis.images:
                drawn.add(tuple(np.asarray(image.get_array())[0, 0].tolist()))
        return drawn

    assert colours() == {(211, 211, 211)}, "grey where there is neither a file nor a copy"
    folder = RunFolder(tmp_path, key)
    with np.load(folder.predictions_file) as saved:
        chosen = saved["test_image"][telling(saved["test_logits"], saved["test_label"])]
    pixels = {str(name): np.full((28, 28, 1), 7, np.uint8) for name in chosen}
    save_thumbnails(folder.thumbnails_file, pixels)
    assert colours() == {(7, 7, 7)}
    folder.thumbnails_file.write_bytes(folder.thumbnails_file.read_bytes()[:90])
    assert read_thumbnails(folder.thumbnails_file) == {}


def test_small_copies_are_small(tmp_path: Path) -> None:
    file = tmp_path / "copies.npz"
    save_thumbnails(file, {"a": np.zeros((224, 224, 3), np.uint8)})
    assert read_thumbnails(file)["a"].size == (96, 96)


def test_accuracy_against_size_needs_networks_of_several_sizes(tmp_path: Path) -> None:
    two_seeds(tmp_path, "variant=A split=90")
    with pytest.raises(UserError, match=r"encoder\.width"):
        FIGURES["size"](tmp_path, "exp1")
    keys = []
    words = []
    for dense in (32, 64):
        asked = ("variant=A", "encoder=simple_cnn", f"encoder.dense={dense}", "split=90")
        key = finish_run(tmp_path, *asked, seed=0)
        record = RunFolder(tmp_path, key).record_file
        record.write_text(record.read_text().replace("1234", str(1000 * dense)))
        keys.append(key)
        words.append(" ".join(asked))
    sweep(tmp_path, "sizes", keys, words)
    [axis] = FIGURES["size"](tmp_path, "sizes").axes
    assert axis.lines[0].get_xdata().tolist() == [32000, 64000]
    assert [text.get_text() for text in axis.texts] == ["dense=32", "dense=64"]


def test_one_overall_table_and_its_two_choices(tmp_path: Path) -> None:
    two_seeds(tmp_path, "variant=A split=90", "variant=B2 split=90")
    table = overall(tmp_path, "exp1")
    assert table["valid_accuracy"].is_monotonic_decreasing
    assert {"train_accuracy", "test_accuracy", "parameters", "epochs", "patience"} <= set(table)
    assert (table["seconds"] == table["train_seconds"] + table["pretraining_seconds"]).all()
    best, least = choices(table)
    assert table["variant"][0] in best
    assert "Smallest gap" in least
    with pytest.raises(UserError, match=r"\.md or \.csv or \.xlsx"):
        write_overall(tmp_path, "exp1", tmp_path / "table.docx")
    write_overall(tmp_path, "exp1", tmp_path / "table.md")
    assert "Best on validation images" in (tmp_path / "table.md").read_text()
    pytest.importorskip("openpyxl")
    write_overall(tmp_path, "exp1", tmp_path / "table.xlsx")
    read = pd.read_excel(tmp_path / "table.xlsx", sheet_name="cells")
    assert read["test_accuracy"].tolist() == pytest.approx(table["test_accuracy"].tolist())
    chosen = pd.read_excel(tmp_path / "table.xlsx", sheet_name="choices")
    assert chosen["choice"].tolist() == [best, least]

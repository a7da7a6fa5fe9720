"""Photos of one nest are never on both sides of a cut, and the groups of photos can be found."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from birds.cli import parser
from birds.core.errors import UserError
from birds.data.deal import read_images
from birds.data.grouping import Taken, joined, taken, within_seconds
from birds.data.parts import with_all_parts, without_cut_groups
from birds.data.sources import Item
from birds.data.sources.folder import Folder
from birds.data.sources.table import Table


@given(
    st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 12)), min_size=40, max_size=80),
    st.integers(0, 9),
)
def test_no_group_stands_in_two_parts_and_each_class_in_all(photos, seed) -> None:
    alone = [Item(f"{name}{k}", name, None) for name in "AB" for k in range(8)]
    grouped = [Item(f"g{k}", name, None, f"nest {group}") for k, (name, group) in enumerate(photos)]
    dealt = with_all_parts(alone + grouped, ("A", "B"), "auto", seed)
    parts: dict[str, set[str | None]] = {}
    for item in dealt:
        if item.group:
            parts.setdefault(item.group, set()).add(item.part)
    assert all(len(found) == 1 for found in parts.values())
    for name in "AB":
        assert {item.part for item in dealt if item.label == name} == {"train", "valid", "test"}
    again = with_all_parts(alone + grouped, ("A", "B"), "auto", seed)
    assert again == dealt


def test_a_class_of_one_nest_cannot_be_tested_and_is_named() -> None:
    items = [Item(f"a{k}", "A", None, f"nest {k // 2}") for k in range(12)]
    items += [Item(f"b{k}", "B", None, "one nest") for k in range(12)]
    with pytest.raises(UserError, match="B has 12 training images in 1 groups, and groups cannot"):
        with_all_parts(items, ("A", "B"), "auto", 0)


def test_parts_of_the_source_that_cut_a_group_lose_the_earlier_images() -> None:
    items = [
        Item("a", "A", "train", "1"),
        Item("b", None, "train", "1"),
        Item("c", "A", "train", "2"),
        Item("d", "A", "test", "1"),
        Item("e", "A", "valid", "2"),
        Item("f", "A", "train"),
    ]
    assert [item.id for item in without_cut_groups(items)] == ["d", "e", "f"]


def table_of(root: Path, rows: list[list[str]], **options) -> Table:
    with (root / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return Table(Table.Options(root=str(root), file="table.csv", **options))


def test_unlabelled_photos_of_a_tested_nest_are_not_learnt_from(photos_in, tmp_path) -> None:
    root = photos_in({"all": 40}) / "all"
    rows = [["file", "label", "group"]]
    for k in range(1, 41):
        label = "" if k % 4 == 0 else ("crow", "wren")[k // 4 % 2]
        rows.append([f"{k:03d}.jpg", label, f"nest {k // 4}"])
    images = read_images(table_of(root, rows), tmp_path / "cache", classes=2, seed=0)
    nests = {row[0]: row[2] for row in rows[1:]}
    judged = {
        nests[name] for name, part in zip(images.ids, images.part, strict=True) if part != "train"
    }
    learnt = {
        nests[name] for name, part in zip(images.ids, images.part, strict=True) if part == "train"
    }
    assert judged
    assert not judged & learnt
    dropped = images.notes.names("groups_dropped")
    assert dropped
    assert {nests[name] for name in dropped} <= judged


def test_a_column_that_sounds_like_groups_is_named_and_read_when_chosen(photos_in) -> None:
    root = photos_in({"all": 4}) / "all"
    rows = [["file", "label", "Camera"], ["001.jpg", "crow", "a"], ["002.jpg", "wren", "a"]]
    items, notes = table_of(root, rows).scan()
    assert [item.group for item in items] == [None] * 4
    assert notes.names("columns_unread") == ("Camera",)
    assert notes.names("rows_unnamed") == ("003.jpg", "004.jpg")
    items, _ = table_of(root, rows, columns={"group": "camera"}).scan()
    assert [item.group for item in items] == ["a", "a", None, None]
    rows.append(["001.jpg", "crow", "b"])
    with pytest.raises(UserError, match="twice, as 'crow' in group a and as 'crow' in group b"):
        table_of(root, rows, columns={"group": "camera"}).scan()


def test_pairs_become_groups() -> None:
    assert joined([("a", "b"), ("c", "d"), ("b", "e")]) == [["a", "b", "e"], ["c", "d"]]
    moments = {"x": Taken("A", 0), "y": Taken("A", 9), "z": Taken("A", 30), "w": Taken("B", 9)}
    assert within_seconds(moments) == [("x", "y")]


def shot(photo: Image.Image, file: Path, moment: str) -> None:
    exif = Image.Exif()
    exif[0x0132] = moment
    exif[0x0110] = "a camera"
    photo.save(file, exif=exif)


def test_check_finds_bursts_and_near_duplicates_and_writes_them_once(
    photos_in, draw_photo, tmp_path, capsys
) -> None:
    root = photos_in({"crow": 6, "wren": 6})
    for k, second in enumerate(("00", "05", "50")):
        shot(draw_photo(7000 + k), root / "crow" / f"burst{k}.jpg", f"2026:05:01 10:00:{second}")
    Image.open(root / "wren/001.jpg").save(root / "wren/copy.jpg", quality=60)
    assert taken(root / "crow/burst1.jpg") is not None
    assert taken(root / "crow/001.jpg") is None
    out = tmp_path / "groups.csv"
    words = ["data", "check", str(root), "--groups", str(out)]
    args = parser().parse_args(words)
    args.act(args)
    assert "likely groups: 2 of 4 images" in capsys.readouterr().out
    with out.open() as file:
        group = {row["file"]: row["group"] for row in csv.DictReader(file)}
    assert group["crow/burst0.jpg"] == group["crow/burst1.jpg"] != group["wren/copy.jpg"]
    assert group["wren/copy.jpg"] == group["wren/001.jpg"]
    assert group["crow/burst2.jpg"] == group["crow/001.jpg"] == ""
    before = out.read_bytes()
    with pytest.raises(UserError, match="is not overwritten"):
        args.act(args)
    assert out.read_bytes() == before
    items, _ = Table(Table.Options(root=str(root), file=str(out))).scan()
    assert {item.label for item in items} == {"crow", "wren"}


def test_nested_folders_are_of_the_class_above_or_classes_themselves(photos_in) -> None:
    counts = {"Tyto/alba": 3, "Tyto/furcata": 3, "Motacilla/alba": 3, "Corvus": 3}
    root = photos_in(counts)

    def labels(class_from):
        items, notes = Folder(Folder.Options(root=str(root), class_from=class_from)).scan()
        return {item.id.rpartition("/")[0]: item.label for item in items}, notes

    top, _ = labels("top")
    assert set(top.values()) == {"Tyto", "Motacilla", "Corvus"}
    leaf, notes = labels("leaf")
    assert leaf == {
        "Tyto/alba": "Tyto alba",
        "Motacilla/alba": "Motacilla alba",
        "Tyto/furcata": "furcata",
        "Corvus": "Corvus",
    }
    assert notes.names("classes_of_one_name") == ("alba",)
    with pytest.raises(UserError, match=r"data.class_from=top .* or leaf"):
        labels(None)


def test_small_classes_are_dropped_by_name(photos_in, tmp_path) -> None:
    source = Folder(Folder.Options(root=str(photos_in({"crow": 9, "wren": 9, "stork": 2}))))
    with pytest.raises(UserError, match=r"stork has 2 training images.*data.min_images=4"):
        read_images(source, tmp_path / "cache", classes=5, seed=0)
    images = read_images(source, tmp_path / "cache", classes=5, seed=0, min_images=4)
    assert images.classes == ("crow", "wren")
    assert images.classes_found == 3
    assert images.notes.names("classes_small") == ("stork (2)",)


def test_equal_photos_of_two_labels_are_noted(photos_in, tmp_path) -> None:
    root = photos_in({"crow": 9, "wren": 9})
    shutil.copy(root / "crow/001.jpg", root / "wren/other.jpg")
    source = Folder(Folder.Options(root=str(root)))
    images = read_images(source, tmp_path / "cache", classes=2, test=1, seed=1)
    gone = images.notes.names("duplicates_dropped")
    pairs = images.notes.names("labels_contradicting")
    assert gone or pairs == ("crow/001.jpg = wren/other.jpg",)

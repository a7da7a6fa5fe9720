"""A wider pool never contains a validation or test image, from whatever source, and its contents
are part of a run's key.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from birds.core.errors import UserError
from birds.data.cache import decoded_images
from birds.data.deal import read_images
from birds.data.images import Images
from birds.data.pool import read_pool
from birds.data.sources.folder import Folder

COUNTS = {"train/CROW": 12, "train/ROBIN": 11, "train/WREN": 8, "train/STORK": 7} | {
    f"{part}/{name}": 2 for part in ("valid", "test") for name in ("CROW", "ROBIN", "WREN", "STORK")
}


@pytest.fixture
def own(draw_photo, tmp_path: Path) -> Callable[[dict[str, int]], Path]:
    """A function that writes photos that the data set does not have, from counts by folder."""

    def write(counts: dict[str, int]) -> Path:
        for k, (folder, count) in enumerate(counts.items()):
            (tmp_path / "own" / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                draw_photo(50_000 + 100 * k + number).save(
                    tmp_path / "own" / folder / f"{number:03d}.jpg"
                )
        return tmp_path / "own"

    return write


@pytest.fixture
def root(photos_in) -> Path:
    return photos_in(COUNTS)


def selected(root: Path) -> Images:
    """Crows and robins, the two largest species; two training photos of each are moved to test."""
    return read(root, classes=2)


def read(root: Path, classes: int) -> Images:
    source = Folder(Folder.Options(root=str(root)))
    return read_images(source, root.parent / "cache", classes=classes, test=2, seed=0)


def pool_of(root: Path, pool: str) -> Images:
    found = read_pool(pool, selected(root), root.parent / "cache")
    assert found is not None
    return found


def test_the_split_alone_is_no_pool(root: Path) -> None:
    assert read_pool("split", selected(root), root.parent / "cache") is None


def test_all_classes_are_the_training_photos_of_those_that_were_not_selected(root: Path) -> None:
    pool = pool_of(root, "all_classes")
    assert {path.rsplit("/", 1)[0] for path in pool.ids} == {"train/WREN", "train/STORK"}
    assert len(pool.ids) == 15
    assert set(pool.content).isdisjoint(selected(root).content)


def test_all_classes_leave_out_what_is_judged_anywhere_in_the_data_set(root: Path) -> None:
    shutil.copy(root / "test/CROW/001.jpg", root / "train/WREN/100.jpg")
    shutil.copy(root / "valid/STORK/001.jpg", root / "train/WREN/101.jpg")
    moved = next(
        path
        for path, part in zip(selected(root).ids, selected(root).part, strict=True)
        if part == "test"
    )
    shutil.copy(root / moved, root / "train/STORK/100.jpg")
    pool = pool_of(root, "all_classes")
    assert len(pool.ids) == 15
    assert pool.notes.counts()["pool_judged"] == 3
    judged = {root / p for part in ("valid", "test") for p in (root / part).rglob("*.jpg")} | {
        root / moved
    }
    assert not {(root / path).read_bytes() for path in pool.ids} & {
        path.read_bytes() for path in judged
    }


def test_a_folder_of_ones_own_is_read_to_any_depth_each_content_once(
    root: Path, own, tmp_path: Path
) -> None:
    folder = own({"a/b": 3, ".": 2, "valid/OWL": 4})
    known = next(
        p
        for p, part in zip(selected(root).ids, selected(root).part, strict=True)
        if part == "train"
    )
    shutil.copy(folder / "a/b/001.jpg", folder / "again.jpg")
    shutil.copy(root / known, folder / "known.jpg")
    (folder / "notes.txt").write_text("no photo")
    pool = pool_of(root, str(folder))
    assert len(pool.ids) == len(set(pool.content)) == 9
    assert pool.notes.counts()["pool_dropped"] == 2
    assert set(pool.content).isdisjoint(selected(root).content)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_photos_that_are_judged_are_left_out_of_a_folder_and_counted(
    root: Path, own, part: str
) -> None:
    folder = own({"a": 3})
    for name in ("CROW", "STORK"):
        shutil.copy(root / part / name / "001.jpg", folder / f"renamed-{name}.jpg")
    pool = pool_of(root, str(folder))
    assert sorted(pool.ids) == ["a/000.jpg", "a/001.jpg", "a/002.jpg"]
    assert pool.notes.names("pool_judged") == ("renamed-CROW.jpg", "renamed-STORK.jpg")


def test_a_folder_around_the_data_set_gives_what_is_not_in_it(root: Path, own, draw_photo) -> None:
    for number in range(3):
        draw_photo(90_000 + number).save(root / f"loose-{number}.jpg")
    pool = pool_of(root, str(root))
    assert sorted(pool.ids) == ["loose-0.jpg", "loose-1.jpg", "loose-2.jpg"]
    others = {name for name in pool.notes.names("pool_dropped") if "/WREN/" in name}
    assert others, "photos of species that were not selected have a label, so they are not taken"


def test_the_data_set_itself_is_no_pool(root: Path) -> None:
    with pytest.raises(UserError, match="adds no image: all of them are already in the data set"):
        pool_of(root, str(root))


def test_pollution_is_a_share_of_all_unlabelled_photos_and_nested(root: Path) -> None:
    images = selected(root)
    taken = {}
    for share in (20, 50):
        pool = read_pool(
            "all_classes", images, root.parent / "cache", pollution=share, beside=8, seed=0
        )
        assert pool is not None
        assert len(pool.ids) / (len(pool.ids) + 8) == pytest.approx(share / 100)
        assert set(pool.content).isdisjoint(images.content)
        taken[share] = set(pool.content)
    assert taken[20] < taken[50]
    with pytest.raises(UserError, match=r"data.pollution=75 needs 24 .* has 15: choose 65 or less"):
        read_pool("all_classes", images, root.parent / "cache", pollution=75, beside=8)


def test_what_adds_nothing_is_refused(root: Path, tmp_path: Path) -> None:
    every = read(root, classes=4)
    with pytest.raises(UserError, match="adds no image"):
        read_pool("all_classes", every, root.parent / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="contains no image"):
        pool_of(root, str(tmp_path / "empty"))
    with pytest.raises(UserError, match="is not a folder; choose split, all_classes or a folder"):
        pool_of(root, str(tmp_path / "nowhere"))


def test_the_same_photos_elsewhere_are_the_same_pool(root: Path, own, tmp_path: Path) -> None:
    folder = own({"a": 4})
    other = shutil.copytree(folder / "a", tmp_path / "other/x/y")
    (other / "001.jpg").rename(other / "z.jpg")
    pools = [pool_of(root, str(one)) for one in (folder, tmp_path / "other")]
    assert pools[0].digest == pools[1].digest
    (other / "002.jpg").unlink()
    assert pool_of(root, str(tmp_path / "other")).digest != pools[0].digest


def test_linked_folders_are_followed_once_and_trash_is_left_out(root: Path, own, tmp_path) -> None:
    folder = own({"a": 3, ".Trash-1000/files": 2, "@eaDir": 2, "$RECYCLE.BIN": 1})
    store = tmp_path / "store"
    (folder / "a").rename(store)
    (folder / "linked").symlink_to(store)
    (folder / "again").symlink_to(store)
    (store / "loop").symlink_to(folder)
    (folder / "notes.txt").write_text("x")
    pool = pool_of(root, str(folder))
    assert len(pool.ids) == 3
    assert pool.notes.names("linked_folders") == ("again",)
    assert pool.notes.names("loops_left_out") == ("linked", "again/loop")
    assert len(pool.notes.names("folders_left_out")) == 3
    assert pool.notes.names("stray_files") == ("notes.txt",)


def test_a_pool_has_no_labels_and_is_decoded_as_any_other(root: Path, own, tmp_path) -> None:
    pool = pool_of(root, str(own({"a": 3})))
    assert pool.label.tolist() == [-1, -1, -1]
    assert decoded_images(pool, tmp_path / "cache", 16).shape == (3, 16, 16, 3)

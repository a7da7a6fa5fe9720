"""A wider pool holds no photo that models are judged on, wherever it comes from, and is known by
its contents.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from contracts.test_configs import spec

from birds.core.spec import UserError
from birds.data.module import BirdsDataModule
from birds.data.photos import Photos, read_photos
from birds.data.pool import read_pool
from birds.data.split import draw_split

COUNTS = {"train/CROW": 12, "train/ROBIN": 11, "train/WREN": 8, "train/STORK": 7} | {
    f"{part}/{name}": 2 for part in ("valid", "test") for name in ("CROW", "ROBIN", "WREN", "STORK")
}


@pytest.fixture
def own(draw_photo, tmp_path: Path) -> Callable[[dict[str, int]], Path]:
    """A function that writes photos of one's own, none of which the data set has, given counts by
    folder.
    """

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


def selected(root: Path) -> Photos:
    """Crows and robins, the largest two species, two training photos of each moved to test."""
    return read_photos(root, root.parent / "cache", species=2, move_to_test=2, seed=0)


def pool_of(root: Path, pool: str) -> Photos:
    found = read_pool(pool, selected(root), root.parent / "cache")
    assert found is not None
    return found


def test_the_split_alone_is_no_pool(root: Path) -> None:
    assert read_pool("split", selected(root), root.parent / "cache") is None


def test_all_species_are_the_training_photos_of_those_that_were_not_selected(root: Path) -> None:
    pool = pool_of(root, "all_species")
    assert {path.rsplit("/", 1)[0] for path in pool.paths} == {"train/WREN", "train/STORK"}
    assert len(pool.paths) == 15
    assert set(pool.content).isdisjoint(selected(root).content)


def test_all_species_leave_out_what_is_judged_anywhere_in_the_data_set(root: Path) -> None:
    shutil.copy(root / "test/CROW/001.jpg", root / "train/WREN/100.jpg")
    shutil.copy(root / "valid/STORK/001.jpg", root / "train/WREN/101.jpg")
    moved = next(
        path
        for path, part in zip(selected(root).paths, selected(root).part, strict=True)
        if part == "test"
    )
    shutil.copy(root / moved, root / "train/STORK/100.jpg")
    pool = pool_of(root, "all_species")
    assert len(pool.paths) == 15
    assert pool.notes["pool_dropped"] == 3
    judged = {root / p for part in ("valid", "test") for p in (root / part).rglob("*.jpg")} | {
        root / moved
    }
    assert not {(root / path).read_bytes() for path in pool.paths} & {
        path.read_bytes() for path in judged
    }


def test_a_folder_of_ones_own_is_read_to_any_depth_each_content_once(
    root: Path, own, tmp_path: Path
) -> None:
    folder = own({"a/b": 3, ".": 2, "valid/OWL": 4})
    known = next(
        p
        for p, part in zip(selected(root).paths, selected(root).part, strict=True)
        if part == "train"
    )
    shutil.copy(folder / "a/b/001.jpg", folder / "again.jpg")
    shutil.copy(root / known, folder / "known.jpg")
    (folder / "notes.txt").write_text("no photo")
    pool = pool_of(root, str(folder))
    assert len(pool.paths) == len(set(pool.content)) == 9
    assert pool.notes["pool_dropped"] == 2
    assert set(pool.content).isdisjoint(selected(root).content)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_folder_with_photos_that_are_judged_is_refused_with_their_count(
    root: Path, own, part: str
) -> None:
    folder = own({"a": 3})
    for name in ("CROW", "STORK"):
        shutil.copy(root / part / name / "001.jpg", folder / f"renamed-{name}.jpg")
    with pytest.raises(
        UserError,
        match=r"holds 2 validation or test photos .*renamed-CROW.jpg is one.*take them out",
    ):
        pool_of(root, str(folder))


def test_the_data_set_itself_is_no_pool(root: Path) -> None:
    with pytest.raises(UserError, match="holds 20 validation or test photos"):
        pool_of(root, str(root))


def test_what_adds_nothing_is_refused(root: Path, tmp_path: Path) -> None:
    every = read_photos(root, root.parent / "cache", species=4, move_to_test=2, seed=0)
    with pytest.raises(UserError, match="adds no photo"):
        read_pool("all_species", every, root.parent / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no photo"):
        pool_of(root, str(tmp_path / "empty"))
    with pytest.raises(UserError, match="is no folder; choose split, all_species or a folder"):
        pool_of(root, str(tmp_path / "nowhere"))


def test_the_same_photos_elsewhere_are_the_same_pool(root: Path, own, tmp_path: Path) -> None:
    folder = own({"a": 4})
    other = shutil.copytree(folder / "a", tmp_path / "other/x/y")
    (other / "001.jpg").rename(other / "z.jpg")
    pools = [pool_of(root, str(one)) for one in (folder, tmp_path / "other")]
    assert pools[0].digest == pools[1].digest
    (other / "002.jpg").unlink()
    assert pool_of(root, str(tmp_path / "other")).digest != pools[0].digest


def test_pretraining_sees_the_pool_beside_the_unlabelled_and_classifiers_do_not() -> None:
    label = np.repeat(np.arange(2), 10)
    part = np.array((["train"] * 8 + ["valid", "test"]) * 2)
    names = tuple(f"{k}.jpg" for k in range(20))
    table = Photos(Path("."), ("A", "B"), names, label, part, names, {})
    pixels = (
        np.zeros((20, 128, 128, 3), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None, None]
    )
    pool = (
        np.full((5, 128, 128, 3), 200, np.uint8) + np.arange(5, dtype=np.uint8)[:, None, None, None]
    )
    made = spec("variant=B2", "budget=smoke", "split=50", "budget.pretrain.augment=0")
    cut = draw_split(
        table.rows("train"), label[table.rows("train")], split=50, seed=0, species=table.species
    )
    assert made.pretrained is not None
    pretraining = BirdsDataModule(made.pretrained, table, pixels, cut, pool=pool)
    shown = [int(p) for batch in pretraining.train_dataloader() for p in batch["photo"][:, 0, 0, 0]]
    assert sorted(shown) == sorted([*cut.unlabelled.tolist(), 200, 201, 202, 203, 204])
    classifier = BirdsDataModule(made, table, pixels, cut, pool=pool)
    rows = {int(r) for batch in classifier.train_dataloader() for r in batch["row"]}
    assert rows == set(cut.labelled.tolist())

"""The reader on data sets as people publish them, where this machine has them."""

from collections import Counter

import pytest

from birds.core.spec import UserError
from birds.data.cache import decoded_photos
from birds.data.check import csv_rows_without_file, look_at
from birds.data.photos import read_photos, scan_folder
from birds.data.split import draw_split


def test_twenty_species_of_cub(shared_data, tmp_path):
    photos = read_photos(
        shared_data / "birds_cub100", tmp_path, species=20, move_to_test=20, seed=0
    )
    per_species = Counter(zip(photos.label.tolist(), photos.part.tolist(), strict=True))
    assert len(photos.species) == 20
    assert {per_species[k, "train"] for k in range(20)} == {30}
    assert {per_species[k, "valid"] for k in range(20)} == {5}
    assert {per_species[k, "test"] for k in range(20)} == {25}
    assert photos.notes == {
        "stray_files": 1,
        "spellings_joined": 0,
        "unreadable_skipped": 0,
        "duplicates_dropped": 0,
    }
    rows = photos.rows("train")
    cut = draw_split(rows, photos.label[rows], split=90, seed=0, species=photos.species)
    assert (len(cut.labelled), len(cut.unlabelled)) == (60, 540)


def test_alien_versus_predator_with_its_palette_files(shared_data, tmp_path):
    root = shared_data / "avp"
    photos = read_photos(root, tmp_path, species=20, move_to_test=50, seed=0)
    assert photos.species == ("alien", "predator")
    assert Counter(photos.part.tolist()) == {"train": 592, "valid": 200, "test": 100}
    assert photos.notes["duplicates_dropped"] == 2
    assert sum(look_at(root / path).mode == "P" for path in photos.paths) == 5
    pixels = decoded_photos(photos, tmp_path, 32)
    assert pixels.shape == (892, 32, 32, 3)
    assert (pixels.reshape(892, -1).std(1) > 2).all()


def test_birds_525_without_its_training_part_is_refused(shared_data, tmp_path):
    root = shared_data / "birds525_valid"
    with pytest.raises(UserError, match="has no train part, only valid"):
        read_photos(root, tmp_path, species=20, move_to_test=0, seed=0)


def test_birds_525_names_and_csv(shared_data):
    root = shared_data / "birds525_valid"
    found, notes = scan_folder(root)
    assert len(found) == 2625
    assert len({photo.species for photo in found}) == 525
    assert notes["spellings_joined"] == 0
    assert csv_rows_without_file(root, {photo.path for photo in found}) == 0


def test_birds_525_as_flat_folder(shared_data, tmp_path):
    photos = read_photos(
        shared_data / "birds525_valid/valid", tmp_path, species=525, move_to_test=1, seed=0
    )
    assert len(photos.species) == 525
    assert Counter(photos.part.tolist())["test"] == 525

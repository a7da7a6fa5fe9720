"""The reader on published data sets, if they are on this machine.

Orders, parts and pixels are pinned, because the results of earlier sweeps depend on them.
"""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from birds.core.errors import UserError
from birds.data.cache import decoded_images
from birds.data.check import csv_rows_without_file
from birds.data.deal import read_images, scanned
from birds.data.decode import Look
from birds.data.images import Images
from birds.data.sources.folder import Folder
from birds.data.sources.idx import Idx
from birds.data.split import cut_of


def folder(root: Path) -> Folder:
    return Folder(Folder.Options(root=str(root)))


def order(images: Images) -> str:
    return hashlib.sha256("\n".join(images.ids).encode()).hexdigest()[:12]


def some_pixels(images: Images) -> str:
    shown = [images.source.decode(name, Look(64)).tobytes() for name in images.ids[::37]]
    return hashlib.sha256(b"".join(shown)).hexdigest()[:12]


def test_twenty_classes_of_cub(shared_data, tmp_path):
    source = folder(shared_data / "birds_cub100")
    images = read_images(source, tmp_path, classes=20, test=20, seed=0)
    per_class = Counter(zip(images.label.tolist(), images.part.tolist(), strict=True))
    assert len(images.classes) == 20
    assert {per_class[k, "train"] for k in range(20)} == {30}
    assert {per_class[k, "valid"] for k in range(20)} == {5}
    assert {per_class[k, "test"] for k in range(20)} == {25}
    assert {kind: n for kind, n in images.notes.counts().items() if n} == {"stray_files": 1}
    cut = cut_of(images, split=90, seed=0)
    assert (len(cut.labelled), len(cut.unlabelled)) == (60, 540)
    assert (images.digest, order(images)) == ("94d76dd83a01", "9151e2ec9a0d")
    assert cut_of(images, split=70, seed=0).digest == "5877b1fd9158"
    assert some_pixels(images) == "2ab52762f5a8"


def test_alien_versus_predator_with_its_palette_files(shared_data, tmp_path):
    source = folder(shared_data / "avp")
    images = read_images(source, tmp_path, classes=20, test=50, seed=0)
    assert images.classes == ("alien", "predator")
    assert Counter(images.part.tolist()) == {"train": 592, "valid": 200, "test": 100}
    assert images.notes.counts()["duplicates_dropped"] == 2
    assert (images.digest, order(images)) == ("feb1dfaa982c", "23d29666e2c2")
    contents = source.contents(images.ids, tmp_path)
    assert Counter(one.mode for one in contents.values())["P"] == 5
    pixels = decoded_images(images, tmp_path, 32)
    assert pixels.shape == (892, 32, 32, 3)
    assert (pixels.reshape(892, -1).std(1) > 2).all()


def test_a_fifth_of_each_class_is_the_test_part_where_there_is_none(shared_data, tmp_path):
    images = read_images(folder(shared_data / "avp"), tmp_path, classes=20, seed=0)
    counts = Counter(zip(images.label.tolist(), images.part.tolist(), strict=True))
    assert (counts[0, "test"], counts[1, "test"]) == (69, 69)


def test_birds_525_without_its_training_part_is_refused(shared_data, tmp_path):
    source = folder(shared_data / "birds525_valid")
    with pytest.raises(UserError, match="has no train part, only valid"):
        read_images(source, tmp_path, classes=20, test=0, seed=0)


def test_birds_525_names_and_csv(shared_data):
    root = shared_data / "birds525_valid"
    items, notes = scanned(folder(root))
    assert len(items) == 2625
    assert len({item.label for item in items}) == 525
    assert notes.counts()["spellings_joined"] == 0
    assert csv_rows_without_file(root, {item.id for item in items}) == 0


def test_birds_525_as_flat_folder(shared_data, tmp_path):
    source = folder(shared_data / "birds525_valid/valid")
    images = read_images(source, tmp_path, classes=525, test=1, seed=3)
    assert len(images.classes) == 525
    assert Counter(images.part.tolist())["test"] == 525
    assert images.digest == "aac77b583203"


def test_fashion_mnist_at_its_own_size(shared_data, tmp_path):
    source = Idx(Idx.Options(root=str(shared_data / "fashion_mnist")))
    images = read_images(source, tmp_path, classes=10, seed=0)
    counts = Counter(images.part.tolist())
    assert counts["test"] == 10_000
    assert counts["train"] + counts["valid"] + images.notes.counts()["duplicates_dropped"] == 60_000
    pixels = decoded_images(images, tmp_path, 28, channels=1)
    assert pixels.shape == (len(images.ids), 28, 28, 1)
    for row in (0, 12_345, len(images.ids) - 1):
        assert np.array_equal(pixels[row], source.decode(images.ids[row], Look(28, 1)))


def test_mnist_without_its_training_images_is_a_data_set_of_its_own(shared_data, tmp_path):
    source = Idx(Idx.Options(root=str(shared_data / "mnist")))
    images = read_images(source, tmp_path, classes=10, seed=0)
    assert images.classes == tuple("0123456789")
    assert set(images.part) == {"train", "valid", "test"}

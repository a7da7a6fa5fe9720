"""The format of MNIST: complete and damaged files."""

import gzip
import pickle
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from birds.core.errors import UserError
from birds.data.cache import decoded_images
from birds.data.deal import read_images
from birds.data.decode import Look, Unreadable
from birds.data.sources.idx import Idx

GREYS = np.random.default_rng(0).integers(0, 256, (60, 9, 9), dtype=np.uint8)
LABELS = np.arange(60, dtype=np.uint8) % 3


def packed(values: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + (values.tobytes())
    )


def write(root: Path, part: str, images: np.ndarray, labels: np.ndarray, zipped=False) -> None:
    root.mkdir(exist_ok=True)
    for name, values in (
        (f"{part}-images-idx3-ubyte", images),
        (f"{part}-labels-idx1-ubyte", labels),
    ):
        data = packed(values)
        file = root / (name + (".gz" if zipped else ""))
        file.write_bytes(gzip.compress(data) if zipped else data)


@pytest.fixture
def root(tmp_path) -> Path:
    write(tmp_path / "idx", "train", GREYS, LABELS)
    write(tmp_path / "idx", "t10k", GREYS[::-1] // 2, LABELS, zipped=True)
    return tmp_path / "idx"


def idx(root: Path, **options) -> Idx:
    return Idx(Idx.Options(root=str(root), **options))


def test_parts_labels_and_pixels(root):
    source = idx(root)
    items, notes = source.scan()
    assert Counter(item.part for item in items) == {"train": 60, "test": 60}
    assert items[1][:3] == ("train/000001", "1", "train")
    assert notes.counts() == {}
    assert np.array_equal(source.decode("train/000004", Look(9, 1))[..., 0], GREYS[4])
    assert np.array_equal(source.decode("test/000000", Look(None, 3))[..., 2], GREYS[59] // 2)


def test_many_at_once_are_as_one_by_one(root):
    source = idx(root)
    ids = ["test/000003", "train/000001", "test/000000"]
    for look in (Look(9, 1), Look(9, 3), Look(None, 1)):
        one_by_one = np.stack([source.decode(name, look) for name in ids])
        assert np.array_equal(source.decode_many(ids, look), one_by_one)
    assert source.decode_many(ids, Look(16, 1)) is None
    assert source.decode(ids[0], Look(16, 3, "squash")).shape == (16, 16, 3)


def test_the_cache_of_its_own_size_is_the_files_own(root, tmp_path):
    images = read_images(idx(root), tmp_path / "cache", classes=9, seed=0)
    pixels = decoded_images(images, tmp_path / "cache", 9, channels=1)
    assert pixels.nbytes == len(images.ids) * 81
    for row in (0, 50, len(images.ids) - 1):
        assert np.array_equal(pixels[row], images.source.decode(images.ids[row], Look(9, 1)))


def test_a_changed_pixel_is_another_digest_and_pickling_changes_nothing(root, tmp_path):
    images = read_images(idx(root), tmp_path / "cache", classes=9, seed=0)
    again = pickle.loads(pickle.dumps(images))
    assert again.digest == images.digest
    assert np.array_equal(again.source.decode("train/000000", Look(9, 1))[..., 0], GREYS[0])
    changed = GREYS.copy()
    changed[7, 4, 4] ^= 1
    write(root, "train", changed, LABELS)
    assert read_images(idx(root), tmp_path / "cache", classes=9, seed=0).digest != images.digest


def test_test_images_alone_are_a_data_set_without_parts(root, tmp_path):
    (root / "train-images-idx3-ubyte").unlink()
    assert {item.part for item in idx(root).scan().items} == {None}
    images = read_images(idx(root), tmp_path / "cache", classes=9, seed=0)
    assert Counter(images.part.tolist()) == {"train": 42, "valid": 6, "test": 12}


def test_names_of_labels_and_colours(root):
    items, _ = idx(root, names=("coat", "bag", "boot")).scan()
    assert items[1].label == "bag"
    with pytest.raises(UserError, match="has labels up to 2: give 3 names"):
        idx(root, names=("coat", "bag")).scan()
    colours = np.stack([GREYS] * 3, axis=-1)
    write(root, "train", colours, LABELS)
    write(root, "t10k", colours, LABELS, zipped=True)
    assert idx(root).decode("train/000001", Look(9, 3)).shape == (9, 9, 3)
    assert idx(root).decode_many(["train/000001"], Look(9, 1)).shape == (1, 9, 9, 1)


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        ("train-images-idx3-ubyte", lambda data: data[:-5], "incomplete or damaged"),
        ("train-images-idx3-ubyte", lambda data: data[:9], "incomplete or damaged"),
        ("train-images-idx3-ubyte", lambda data: data + b"x", "incomplete or damaged"),
        ("train-images-idx3-ubyte", lambda data: b"", "is not an idx file"),
        ("train-images-idx3-ubyte", lambda data: b"<html>" + data, "is not an idx file"),
        ("train-images-idx3-ubyte", lambda data: packed(LABELS), "has the shape"),
        ("train-images-idx3-ubyte", lambda data: packed(GREYS[:50]), "50 images and 60 labels"),
        ("train-labels-idx1-ubyte", lambda data: packed(GREYS), "labels have 1"),
        ("train-labels-idx1-ubyte", lambda data: packed(LABELS[:-1]), "60 images and 59 labels"),
        ("t10k-images-idx3-ubyte.gz", lambda data: data[:-20], "incomplete or damaged"),
        ("t10k-images-idx3-ubyte.gz", lambda data: data[20:], "incomplete or damaged"),
        ("t10k-labels-idx1-ubyte.gz", lambda data: None, "no t10k-labels"),
    ],
)
def test_damaged_files_are_refused_by_name(root, name, damage, sentence):
    file = root / name
    damaged = damage(file.read_bytes())
    file.unlink()
    if damaged is not None:
        file.write_bytes(damaged)
    with pytest.raises(UserError, match=sentence) as refusal:
        idx(root).scan()
    assert str(root) in str(refusal.value)


def test_no_files_and_no_such_image(root, tmp_path):
    with pytest.raises(UserError, match="contains no idx images"):
        idx(tmp_path).scan()
    with pytest.raises(UserError, match=r"data=idx needs data\.root=FOLDER"):
        Idx(Idx.Options())
    for name in ("train/000099", "valid/000000", "train/x"):
        with pytest.raises(Unreadable, match="no such image"):
            idx(root).decode(name, Look(9, 1))

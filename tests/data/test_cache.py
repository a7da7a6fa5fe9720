"""Photos are decoded once into a memory map that all processes share."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from birds.data.cache import cache_file, decoded_images
from birds.data.deal import read_images
from birds.data.decode import Look, decode_image
from birds.data.images import Images
from birds.data.sources.folder import Folder

BUILD = """
    import os, sys, time
    from pathlib import Path
    from birds.core.errors import UserError
    from birds.data import cache
    from birds.data.deal import read_images
    from birds.data.sources.folder import Folder

    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    source = Folder(Folder.Options(root=str(root)))
    images = read_images(source, folder, classes=9, test=1, seed=0)
    decode = Folder.decode
    def slowly(self, name, look):
        with (folder / "decoded").open("a") as log:
            log.write(f"{name}\\n")
        time.sleep(0.01)
        return decode(self, name, look)
    Folder.decode = slowly
"""


@pytest.fixture
def images(photos_in, tmp_path) -> Images:
    root = photos_in({"train/CROW": 6, "train/WREN": 6, "valid/CROW": 2, "valid/WREN": 2})
    return read(root, tmp_path / "cache")


def read(root, folder, **choices) -> Images:
    source = Folder(Folder.Options(root=str(root)))
    return read_images(source, folder, **{"classes": 9, "test": 1, "seed": 0} | choices)


def build_elsewhere(images: Images, folder, then: str) -> subprocess.Popen:
    """Another process that reads the same photos and then runs the code `then`."""
    code = textwrap.dedent(BUILD) + textwrap.dedent(then)
    words = [sys.executable, "-c", code, str(images.source.root), str(folder)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_every_photo_in_order_as_it_decodes(images, tmp_path):
    pixels = decoded_images(images, tmp_path / "cache", 32)
    assert pixels.shape == (16, 32, 32, 3)
    assert pixels.dtype == np.uint8
    for row, path in enumerate(images.ids):
        assert np.array_equal(pixels[row], decode_image(images.source.root / path, size=32))
    assert len(np.unique(pixels.reshape(16, -1), axis=0)) == 16


def test_nobody_can_write_into_it(images, tmp_path):
    pixels = decoded_images(images, tmp_path / "cache", 32)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0


def test_a_second_start_decodes_nothing(images, tmp_path, monkeypatch):
    first = np.array(decoded_images(images, tmp_path / "cache", 32))
    monkeypatch.setattr(
        Folder, "decode", lambda self, name, look: pytest.fail(f"{name} decoded again")
    )
    assert np.array_equal(decoded_images(images, tmp_path / "cache", 32), first)


@pytest.mark.parametrize("length", [0, 1000, 16 * 32 * 32 * 3 + 1])
def test_a_file_of_another_length_is_built_again(images, tmp_path, length):
    first = np.array(decoded_images(images, tmp_path / "cache", 32))
    with cache_file(images, tmp_path / "cache", Look(32)).open("r+b") as file:
        file.truncate(length)
    assert np.array_equal(decoded_images(images, tmp_path / "cache", 32), first)


def test_another_size_or_a_changed_photo_is_another_file(images, tmp_path, draw_photo):
    folder = tmp_path / "cache"
    draw_photo(31).save(images.source.root / images.ids[3])
    changed = read(images.source.root, folder)
    names = {
        cache_file(images, folder, Look(32)),
        cache_file(images, folder, Look(48)),
        cache_file(changed, folder, Look(32)),
    }
    assert len(names) == 3
    now = decoded_images(changed, folder, 32)
    assert np.array_equal(now[3], decode_image(images.source.root / images.ids[3], size=32))


def test_moving_photos_between_parts_decodes_nothing_anew(images, tmp_path):
    moved = read(images.source.root, tmp_path / "cache", test=2, seed=1)
    assert cache_file(moved, tmp_path / "cache", Look(32)) == cache_file(
        images, tmp_path / "cache", Look(32)
    )


def test_two_processes_at_once_decode_once(images, tmp_path):
    folder = tmp_path / "cache"
    then = """
        (folder / f"ready-{os.getpid()}").touch()
        while len(list(folder.glob("ready-*"))) < 2:
            time.sleep(0.01)
        print(cache.decoded_images(images, folder, 32).sum())
    """
    both = [build_elsewhere(images, folder, then) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    decoded = (folder / "decoded").read_text().splitlines()
    assert len(decoded) == len(images.ids)
    right = int(
        np.stack([decode_image(images.source.root / path, size=32) for path in images.ids]).sum()
    )
    assert [int(out) for out, _ in answers] == [right, right]


def test_a_full_disk_is_refused_and_leaves_nothing_behind(images, tmp_path):
    folder = tmp_path / "cache"
    then = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            cache.decoded_images(images, folder, 32)
        except UserError as refusal:
            print(refusal)
    """
    process = build_elsewhere(images, folder, then)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith(f"disk full while writing {folder}")
    assert "free some disk space" in out
    assert [file.name for file in folder.iterdir() if "uint8" in file.name] == []
    assert decoded_images(images, folder, 32).shape == (16, 32, 32, 3)

"""Photos decoded once into a map that everybody shares."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from birds.data import cache
from birds.data.cache import cache_file, decode_photo, decoded_photos
from birds.data.photos import Photos, read_photos

BUILD = """
    import os, sys, time
    from pathlib import Path
    from birds.data import cache
    from birds.data.photos import read_photos
    from birds.core.spec import UserError

    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    photos = read_photos(root, folder, species=9, move_to_test=1, seed=0)
    decode = cache.decode_photo
    def slowly(path, size):
        with (folder / "decoded").open("a") as log:
            log.write(f"{path.name}\\n")
        time.sleep(0.01)
        return decode(path, size)
    cache.decode_photo = slowly
"""


@pytest.fixture
def photos(photos_in, tmp_path) -> Photos:
    root = photos_in({"train/CROW": 6, "train/WREN": 6, "valid/CROW": 2, "valid/WREN": 2})
    return read_photos(root, tmp_path / "cache", species=9, move_to_test=1, seed=0)


def build_elsewhere(photos: Photos, folder, then: str) -> subprocess.Popen:
    """Another process that reads the same photos and does as `then` says."""
    code = textwrap.dedent(BUILD) + textwrap.dedent(then)
    words = [sys.executable, "-c", code, str(photos.root), str(folder)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_every_photo_in_order_as_it_decodes(photos, tmp_path):
    pixels = decoded_photos(photos, tmp_path / "cache", 32)
    assert pixels.shape == (16, 32, 32, 3)
    assert pixels.dtype == np.uint8
    for row, path in enumerate(photos.paths):
        assert np.array_equal(pixels[row], decode_photo(photos.root / path, 32))
    assert len(np.unique(pixels.reshape(16, -1), axis=0)) == 16


def test_nobody_can_write_into_it(photos, tmp_path):
    pixels = decoded_photos(photos, tmp_path / "cache", 32)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0


def test_a_second_start_decodes_nothing(photos, tmp_path, monkeypatch):
    first = np.array(decoded_photos(photos, tmp_path / "cache", 32))
    monkeypatch.setattr(
        cache, "decode_photo", lambda path, size: pytest.fail(f"{path} decoded again")
    )
    assert np.array_equal(decoded_photos(photos, tmp_path / "cache", 32), first)


@pytest.mark.parametrize("length", [0, 1000, 16 * 32 * 32 * 3 + 1])
def test_a_file_of_another_length_is_built_again(photos, tmp_path, length):
    first = np.array(decoded_photos(photos, tmp_path / "cache", 32))
    with cache_file(photos, tmp_path / "cache", 32).open("r+b") as file:
        file.truncate(length)
    assert np.array_equal(decoded_photos(photos, tmp_path / "cache", 32), first)


def test_another_size_or_a_changed_photo_is_another_file(photos, tmp_path, draw_photo):
    folder = tmp_path / "cache"
    draw_photo(31).save(photos.root / photos.paths[3])
    changed = read_photos(photos.root, folder, species=9, move_to_test=1, seed=0)
    names = {
        cache_file(photos, folder, 32),
        cache_file(photos, folder, 48),
        cache_file(changed, folder, 32),
    }
    assert len(names) == 3
    now = decoded_photos(changed, folder, 32)
    assert np.array_equal(now[3], decode_photo(photos.root / photos.paths[3], 32))


def test_moving_photos_between_parts_decodes_nothing_anew(photos, tmp_path):
    moved = read_photos(photos.root, tmp_path / "cache", species=9, move_to_test=2, seed=1)
    assert cache_file(moved, tmp_path / "cache", 32) == cache_file(photos, tmp_path / "cache", 32)


def test_two_processes_at_once_decode_once(photos, tmp_path):
    folder = tmp_path / "cache"
    then = """
        (folder / f"ready-{os.getpid()}").touch()
        while len(list(folder.glob("ready-*"))) < 2:
            time.sleep(0.01)
        print(cache.decoded_photos(photos, folder, 32).sum())
    """
    both = [build_elsewhere(photos, folder, then) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    decoded = (folder / "decoded").read_text().splitlines()
    assert len(decoded) == len(photos.paths)
    right = int(np.stack([decode_photo(photos.root / path, 32) for path in photos.paths]).sum())
    assert [int(out) for out, _ in answers] == [right, right]


def test_a_full_disk_is_refused_and_leaves_nothing_behind(photos, tmp_path):
    folder = tmp_path / "cache"
    then = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            cache.decoded_photos(photos, folder, 32)
        except UserError as refusal:
            print(refusal)
    """
    process = build_elsewhere(photos, folder, then)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith(f"disk full while writing {folder}")
    assert "free some room" in out
    assert [file.name for file in folder.iterdir() if "uint8" in file.name] == []
    assert decoded_photos(photos, folder, 32).shape == (16, 32, 32, 3)


@pytest.fixture
def saved(tmp_path):
    """Save an image under a name and decode it at 32 px."""

    def decoded(image: Image.Image, name: str, **options):
        image.save(tmp_path / name, **options)
        return decode_photo(tmp_path / name, 32)

    return decoded


@pytest.mark.parametrize("size", [(224, 224), (40, 40), (300, 200), (90, 260), (8, 8), (1, 70)])
def test_any_size_becomes_the_chosen_square(saved, size):
    assert (
        saved(Image.new("RGB", size, (200, 30, 60)), "a.png").tolist()
        == np.full((32, 32, 3), (200, 30, 60)).tolist()
    )


def test_the_middle_is_kept(saved):
    wide = Image.new("RGB", (96, 32), "red")
    wide.paste((0, 0, 255), (32, 0, 64, 32))
    middle = saved(wide, "wide.png")
    assert (middle[:, 4:-4] == (0, 0, 255)).all()


def near(pixels, colour) -> bool:
    return bool((np.abs(pixels.astype(int) - colour) <= 6).all())


def test_every_kind_of_file_becomes_rgb(saved):
    red = Image.new("RGB", (40, 40), (220, 40, 20))
    assert near(saved(red, "plain.jpg", quality=95), (220, 40, 20))
    assert near(saved(red.quantize(4), "palette.jpg", format="PNG"), (220, 40, 20))
    assert near(saved(red.convert("CMYK"), "cmyk.jpg", quality=95), (220, 40, 20))
    assert near(saved(red.convert("L"), "grey.jpg"), (91, 91, 91))
    assert near(saved(Image.new("1", (40, 40), 1), "one_bit.png"), (255, 255, 255))


def test_transparency_shows_white(saved):
    glass = Image.new("RGBA", (40, 40), (220, 40, 20, 0))
    glass.paste((220, 40, 20, 255), (0, 0, 20, 40))
    pixels = saved(glass, "glass.png")
    assert near(pixels[:, :14], (220, 40, 20))
    assert near(pixels[:, 18:], (255, 255, 255))
    indexed = Image.new("P", (40, 40))
    assert near(saved(indexed, "indexed.png", transparency=0), (255, 255, 255))


def test_sixteen_bits_of_grey_keep_their_shades(saved):
    ramp = np.broadcast_to(np.linspace(0, 65535, 40).astype(np.uint16), (40, 40)).copy()
    pixels = saved(Image.fromarray(ramp), "deep.png")
    assert near(pixels[:, 16], 131)
    assert pixels[0, 1, 0] < 20 < 235 < pixels[0, 30, 0]


def test_a_photo_taken_sideways_stands_upright(saved):
    picture = Image.new("RGB", (40, 40), "black")
    picture.paste((255, 255, 255), (0, 0, 40, 20))
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    pixels = saved(picture, "turned.jpg", exif=turned, quality=95)
    assert pixels[:, :12].mean() < 10
    assert pixels[:, 20:].mean() > 245

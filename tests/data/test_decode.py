"""The decoder: every kind of file gives the same square of pixels, or an error message."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from data.malformed import malformed
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from birds.data.contents import contents_of
from birds.data.decode import Look, Unreadable, decode, decode_image


@pytest.fixture
def saved(tmp_path):
    """Save an image under a name and decode it with a side of 32 pixels."""

    def decoded(image: Image.Image, name: str, **options):
        image.save(tmp_path / name, **options)
        return decode_image(tmp_path / name, size=32)

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


def test_the_decoder_is_pillow_s_own_crop(tmp_path, draw_photo):
    """The results of earlier sweeps depend on these pixels."""
    draw_photo(3, 300).resize((300, 200)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        image.draft("RGB", (64, 64))
        expected = ImageOps.fit(image, (64, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(decode_image(tmp_path / "a.jpg", size=64), np.asarray(expected))


def test_squash_keeps_the_margins_and_no_size_keeps_all(tmp_path):
    wide = Image.new("RGB", (96, 32), "red")
    wide.paste((0, 0, 255), (32, 0, 64, 32))
    wide.save(tmp_path / "wide.png")
    squashed = decode_image(tmp_path / "wide.png", size=32, resize="squash")
    assert near(squashed[:, :8], (255, 0, 0))
    assert near(squashed[:, 14:18], (0, 0, 255))
    whole = decode_image(tmp_path / "wide.png", size=None)
    assert np.array_equal(whole, np.asarray(wide))


def test_a_share_of_the_middle_square_is_kept(tmp_path):
    framed = Image.new("RGB", (160, 120), "red")
    framed.paste((0, 0, 255), (35, 15, 125, 105))  # the middle 90 of 120 pixels
    framed.save(tmp_path / "framed.png")
    for interpolation in ("bicubic", "bilinear"):
        look = {"size": 32, "interpolation": interpolation}
        inside = decode_image(tmp_path / "framed.png", crop_pct=0.75, **look)
        assert near(inside[1:-1, 1:-1], (0, 0, 255))
        assert near(decode_image(tmp_path / "framed.png", **look)[0], (255, 0, 0))


def test_grey_is_one_channel_whatever_the_file(tmp_path, draw_photo):
    draw_photo(3).save(tmp_path / "colour.png")
    draw_photo(3).convert("L").save(tmp_path / "grey.png")
    colour, grey = (
        decode_image(tmp_path / name, size=32, channels=1) for name in ("colour.png", "grey.png")
    )
    assert colour.shape == grey.shape == (32, 32, 1)
    assert np.abs(colour.astype(int) - grey).max() <= 2
    three = decode_image(tmp_path / "grey.png", size=32)
    assert np.array_equal(three, np.repeat(grey, 3, axis=2))


def test_bytes_are_decoded_as_the_file(tmp_path, draw_photo):
    draw_photo(3).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    assert np.array_equal(decode_image(data, size=20), decode_image(tmp_path / "a.jpg", size=20))


SHADES = np.tile(np.linspace(0, 255, 40), (40, 1))


@pytest.mark.parametrize(
    ("name", "values", "scaled"),
    [
        ("12.png", (SHADES * 16).astype(np.uint16), "12 bits"),
        ("12.tif", (SHADES * 16).astype(np.uint16), "12 bits"),
        ("16.png", (SHADES * 257).astype(np.uint16), "16 bits"),
        ("8in16.png", SHADES.astype(np.uint16), ""),
        ("fraction.tif", (SHADES / 255).astype(np.float32), "0 to 1"),
        ("float.tif", SHADES.astype(np.float32), ""),
        ("integers.tif", (SHADES * 257).astype(np.int32), "0 to 65535"),
        ("bytes.tif", SHADES.astype(np.int32), ""),
        ("below.tif", (SHADES - 100).astype(np.float32), "-100 to 155"),
    ],
)
def test_deep_greys_keep_their_shades(tmp_path, name, values, scaled):
    Image.fromarray(values).save(tmp_path / name)
    seen = decode(tmp_path / name, Look(None, 1))
    assert seen.scaled == scaled
    assert np.abs(seen.pixels[..., 0] - SHADES).max() <= 2


def test_numbers_that_are_none_do_not_spread(tmp_path):
    values = (SHADES / 255).astype(np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.abs(decode_image(tmp_path / "a.tif", size=None)[1:, :, 0] - SHADES[1:]).max() <= 2


def jpeg_with(exif: bytes) -> bytes:
    file = io.BytesIO()
    picture = Image.new("RGB", (40, 40), "black")
    picture.paste((255, 255, 255), (0, 0, 40, 20))
    picture.save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def test_exif_that_cannot_be_written_back_is_obeyed_all_the_same():
    tags = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0) + struct.pack("<HHII", 0x11A, 10, 1, 38)
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + tags + b"\0" * 4
    pixels = decode_image(jpeg_with(b"Exif\0\0" + head + struct.pack("<ii", -1, 0)), size=40)
    assert pixels[:, 25:].mean() > 240 > 10 > pixels[:, :15].mean()


@given(st.binary(max_size=80))
def test_exif_of_any_bytes_leaves_the_image_readable(garbage):
    assert decode_image(jpeg_with(b"Exif\0\0" + garbage), size=16).shape == (16, 16, 3)


@given(st.binary(max_size=80))
def test_a_png_with_exif_of_any_bytes_is_readable(garbage):
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(file, "PNG")
    data = file.getvalue()
    chunk = b"eXIf" + garbage
    whole = struct.pack(">I", len(garbage)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    end = data.rindex(b"IEND") - 4
    assert near(decode_image(data[:end] + whole + data[end:], size=8), (255, 0, 0))


def png_of(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + start + struct.pack(">I", 9) + b"IDAT"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an image"),
        (b"<html>404</html>", "not an image"),
        (png_of(14_000, 14_000), "more than 178 megapixels"),
        (png_of(0, 5), ""),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_name(data, reason):
    with pytest.raises(Unreadable, match=r"^owl\.png cannot be read as an image \(") as refusal:
        decode_image(data, size=32, name="owl.png")
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("mode", ["LAB", "HSV", "YCbCr", "CMYK", "RGBX", "La", "RGBa", "I;16B"])
def test_the_check_agrees_with_the_decoder_on_every_mode(tmp_path, mode):
    try:
        Image.new(mode, (20, 20)).save(tmp_path / "odd.tif")
    except OSError:
        pytest.skip(f"Pillow writes no TIFF of {mode}")
    try:
        assert decode_image(tmp_path / "odd.tif", size=32).shape == (32, 32, 3)
        assert contents_of(tmp_path / "odd.tif").error == ""
    except Unreadable:
        assert contents_of(tmp_path / "odd.tif").error


def test_an_oversized_text_is_unreadable(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("seen", "x" * (2 * PngImagePlugin.MAX_TEXT_CHUNK), zip=True)
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png", pnginfo=text)
    with pytest.raises(Unreadable, match=r"a\.png"):
        decode_image(tmp_path / "a.png", size=32)
    assert contents_of(tmp_path / "a.png").error


@pytest.mark.filterwarnings("ignore::UserWarning")  # a warning of Pillow about damaged tags
def test_malformed_files_are_read_or_unreadable_and_the_check_knows(tmp_path):
    outcomes = set()
    complaints: list[str] = []
    for name, data in malformed(200):
        file = tmp_path / name
        file.write_bytes(data)
        begun = time.perf_counter()
        error = contents_of(file).error
        for look in (Look(128), Look(28, 1, "squash"), Look(None)):
            try:
                decode(file, look)
                readable = True
            except Unreadable as complaint:
                readable = False
                complaints.append(str(complaint))
            assert readable == (error == ""), (name, look, error)
        assert time.perf_counter() - begun < 4 * 2, name
        outcomes.add(error)
    assert all(str(tmp_path) in complaint for complaint in complaints)
    assert len(outcomes) > 5
    assert "" in outcomes


def test_a_damaged_header_of_a_gif_takes_no_memory():
    file = io.BytesIO()
    Image.new("P", (40, 40)).save(file, "GIF", transparency=0)
    data = bytearray(file.getvalue())
    data[6:10] = struct.pack("<HH", 13_000, 13_000)
    with pytest.raises(Unreadable, match=r"13000x13000 pixels in \d+ bytes"):
        decode_image(bytes(data), size=32)

"""The one decoder: every kind of file becomes the same square of pixels, or one sentence."""

import numpy as np
import pytest
from PIL import Image

from birds.data.decode import Unreadable, decode_image


@pytest.fixture
def saved(tmp_path):
    """Save an image under a name and decode it at 32 px."""

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

"""The only decoder of image files: training, checks, prediction, previews and figures all use it.

So a file that can be read by one can be read by all. Every error of Pillow becomes an `Unreadable`
that names the file.
"""

import contextlib
import io
import threading
import warnings
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from birds.core.errors import UserError
from birds.core.spec import ImageChoices

HEIF = AVIF = False
with contextlib.suppress(ImportError):  # where its plug-in is installed
    from pillow_heif import register_heif_opener  # type: ignore[import-not-found]

    register_heif_opener()
    HEIF = True
with contextlib.suppress(ImportError):  # where Pillow was built with it
    from PIL import AvifImagePlugin

    AVIF = bool(AvifImagePlugin.SUPPORTED)

# Warnings about files that can be read nevertheless; a file that cannot be read is an error.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Formats of single raster images. Without this list, a file called x.jpg could start Ghostscript or
# be a video.
FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "DIB", "JPEG2000", "TGA", "PCX", "ICO"),
    *(("HEIF",) if HEIF else ()),
    *(("AVIF",) if AVIF else ()),
)
LARGE = 2**25  # pixels; larger images are decoded one at a time to limit the memory
EMPTY = 2000  # pixels per byte; a large image with more has a damaged header
TURNS = {  # by the EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_one_large_image = threading.Lock()

Resize = Literal["crop", "squash"]
Interpolation = Literal["bicubic", "bilinear"]
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


class Look(NamedTuple):
    """The input format of an encoder: side in pixels (None keeps the size), 1 or 3 channels, how
    images are made square, the interpolation, and the kept share of the central square.
    """

    size: int | None
    channels: int = 3
    resize: Resize = "crop"
    interpolation: Interpolation = "bicubic"
    crop_pct: float = 1.0


def look_of(image: ImageChoices, *, own_size: bool = False) -> Look:
    """The look for an encoder; with `own_size` images keep their size and are grey."""
    look = Look(**dict(image))
    return look._replace(size=None, channels=1) if own_size else look


class Unreadable(UserError):
    """A file that cannot be decoded. The message names the file in one line; `reason` does not."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot be read as an image ({reason})")
        self.reason = reason


class Decoded(NamedTuple):
    """Pixels uint8 (h, w, c), the width, height and mode of the file, and how deep grey levels were
    scaled ("" if they were not).
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    mode: str
    scaled: str


def decode_image(
    file: Path | bytes,
    *,
    size: int | None,
    channels: int = 3,
    resize: Resize = "crop",
    interpolation: Interpolation = "bicubic",
    crop_pct: float = 1.0,
    name: str | None = None,
) -> NDArray[np.uint8]:
    """One image as uint8 (size, size, channels), values 0 to 255.

    Args:
        file: a path, or the bytes of a file.
        size: the side in pixels; None keeps the image's own height and width.
        channels: 1 for grey, 3 for RGB.
        resize: `crop` scales the short side and keeps the middle, `squash` scales both sides.
        interpolation: `bicubic` or `bilinear`, both antialiased.
        crop_pct: with `crop`, the side of the square that is kept, as a share of the short side.
        name: the name of the file in errors; by default its path.

    Raises Unreadable if it cannot be decoded.
    """
    look = Look(size, channels, resize, interpolation, crop_pct)
    return decode(file, look, name=name).pixels


def decode(file: Path | bytes, look: Look, *, name: str | None = None) -> Decoded:
    """Like `decode_image`, with the size and mode of the file. Raises Unreadable."""
    called = name or (str(file) if isinstance(file, Path) else "the image")
    try:
        source = io.BytesIO(file) if isinstance(file, bytes) else file
        length = len(file) if isinstance(file, bytes) else file.stat().st_size
        with Image.open(source, formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels < LARGE:
                return _decoded(image, look)
            if pixels > EMPTY * length:
                raise ValueError(f"{image.width}x{image.height} pixels in {length} bytes")
            with _one_large_image:
                return _decoded(image, look)
    except Exception as complaint:  # Pillow raises anything from OSError to struct.error
        raise Unreadable(called, _reason(complaint)) from None


def _decoded(image: Image.Image, look: Look) -> Decoded:
    width, height, mode = image.width, image.height, image.mode
    if look.size is not None:
        least = round(look.size / look.crop_pct)
        image.draft("RGB", (least, least))
    image.load()
    from_png = image.format == "PNG"  # some versions of Pillow open its 16 bits as 32
    shades, scaled = _eight_bits(_upright(image), from_png)
    flat = _flat(shades)
    pixels = np.asarray(resized(flat.convert("L") if look.channels == 1 else flat, look))
    return Decoded(pixels.reshape(*pixels.shape[:2], look.channels), width, height, mode, scaled)


def resized(image: Image.Image, look: Look) -> Image.Image:
    """An image in the size of a look; unchanged if the look has no size."""
    if look.size is None:
        return image
    square = (look.size, look.size)
    pixels = RESAMPLING[look.interpolation]
    if look.resize == "squash":
        return image.resize(square, pixels)
    if look.crop_pct == 1:
        return ImageOps.fit(image, square, pixels)
    side = kept_side(min(image.size), look.crop_pct)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize(square, pixels, box=(left, top, left + side, top + side))


def kept_side(short: int, crop_pct: float) -> int:
    """How many pixels of an image's short side are kept.

    It uses whole numbers, so that an exported graph gives the same result.
    """
    return short * round(crop_pct * 10_000) // 10_000


def _upright(image: Image.Image) -> Image.Image:
    """The image turned by its EXIF orientation; unchanged if the EXIF data cannot be read."""
    try:
        turn = TURNS.get(int(image.getexif().get(0x0112, 1)))
    except Exception:  # a broken tag does not affect the pixels
        return image
    return image if turn is None else image.transpose(turn)


def _flat(image: Image.Image) -> Image.Image:
    """The image in RGB, with a white background behind transparency."""
    if image.mode == "RGB":
        return image
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image, from_png: bool) -> tuple[Image.Image, str]:
    """The image with 8-bit grey levels, and how deeper levels were scaled ("" if they were not).

    Pillow itself would turn everything above 255 white.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and from_png):
        shades, scaled = _from_integers(np.asarray(image).astype(np.int64))
    elif image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float64)
        shades, scaled = _from_range(values, fractions=image.mode == "F")
    else:
        return image, ""
    return Image.fromarray(shades), scaled


def _from_integers(values: NDArray[np.int64]) -> tuple[NDArray[np.uint8], str]:
    """8-bit levels from 16 bits, or from 12 bits in a 16-bit file; values below 256 are kept."""
    brightest = int(values.max(initial=0))
    if brightest < 256:
        return values.astype(np.uint8), ""
    bits = 12 if brightest < 4096 else 16
    return (values >> (bits - 8)).astype(np.uint8), f"{bits} bits"


def _from_range(values: NDArray[np.float64], *, fractions: bool) -> tuple[NDArray[np.uint8], str]:
    """8-bit levels from 32 bits: values in 0..255 are kept, fractions in 0..1 are multiplied by
    255, others are scaled from their minimum and maximum.
    """
    finite = values[np.isfinite(values)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    values = np.nan_to_num(values, nan=least, posinf=most, neginf=least)
    if fractions and least >= 0 and most <= 1:
        return np.rint(values * 255).astype(np.uint8), "0 to 1"
    if least >= 0 and most <= 255:
        return np.rint(values).astype(np.uint8), ""
    span = (most - least) or 1.0
    return np.rint((values - least) / span * 255).astype(np.uint8), f"{least:g} to {most:g}"


def _reason(complaint: Exception) -> str:
    """The reason in one line of at most 80 characters."""
    if isinstance(complaint, UnidentifiedImageError):
        return "not an image"
    if isinstance(complaint, Image.DecompressionBombError):
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} megapixels"
    if isinstance(complaint, OSError) and complaint.strerror:
        return complaint.strerror
    words = " ".join(str(complaint).replace(repr(complaint), "").split())
    if "BytesIO" in words:
        return "not an image"
    return words[:80] or type(complaint).__name__

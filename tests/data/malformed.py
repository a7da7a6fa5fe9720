"""Image files that are broken in many ways by changes of a few bytes; the same for a seed."""

import io
import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image, PngImagePlugin

KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF")


def valid(kind: str, seed: int) -> bytes:
    """A small valid file, with EXIF, text and a colour profile if the format has them."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(patches).resize((60, 44), Image.Resampling.BICUBIC)
    options: dict[str, object] = {}
    if kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        exif = Image.Exif()
        exif[0x0112] = int(rng.integers(1, 9))
        exif[0x011A] = 72.0
        options = {"exif": exif, "icc_profile": b"profile" * 20}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("seen", "in May " * 20, zip=True)
        options["pnginfo"] = text
    if kind == "TIFF":
        options["compression"] = str(rng.choice(["raw", "tiff_lzw", "tiff_deflate"]))
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The file with bytes flipped, cut off, overwritten or repeated, or a wrong length field."""
    broken = bytearray(data)
    how = rng.integers(6)
    place = int(rng.integers(2, len(broken)))
    early = int(rng.integers(2, min(400, len(broken) - 4)))
    if how == 0:
        for spot in rng.integers(2, len(broken), int(rng.integers(1, 12))):
            broken[spot] ^= int(rng.integers(1, 256))
    elif how == 1:
        del broken[place:]
    elif how == 2:
        broken[early : early + 4] = struct.pack(
            ">I", int(rng.choice([0, 1, 2**16, 2**31, 2**32 - 1]))
        )
    elif how == 3:
        broken[early : early + 2] = rng.bytes(2)
    elif how == 4:
        broken[place:place] = broken[early : early + 30]
    else:
        for spot in rng.integers(2, min(300, len(broken)), 6):
            broken[spot] = int(rng.choice([0, 255, 127, 128]))
    return bytes(broken)


def malformed(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """A number of broken files, each with a name that says how it was made."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        data = mutated(valid(kind, number), rng)
        yield f"{number:04d}.{kind.lower()}", data

"""Pictures for the page as data URLs of limited size, so that even a page with many runs can be
sent by mail.

Encoded pictures are cached until their file changes, because a live page is built many times.
"""

import base64
import contextlib
import io
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from birds.core.thumbnails import read_thumbnails

WIDTH = 896  # px of a picture: seven photos of 128 px, or eight a little smaller
ALL_PICTURES = 800_000  # characters for all pictures of a page together
THUMBNAILS = ((600, 48), (1600, 32))  # maximum of photos of one data set, and their size in px


def jpegs(files: Sequence[Path]) -> dict[Path, str]:
    """The first of these pictures as JPEG data URLs, as many as fit, without unreadable ones."""
    found: dict[Path, str] = {}
    room = ALL_PICTURES
    for file in files:
        url = _jpeg(file, file.stat().st_mtime_ns)
        room -= len(url)
        if room < 0:
            break
        found |= {file: url} if url else {}
    return found


@lru_cache(256)
def _jpeg(file: Path, changed: int) -> str:
    try:
        with Image.open(file) as image:
            small = image.convert("RGB")
    except OSError:
        return ""
    small.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    return _url(small, 72)


@lru_cache(8)
def sheet(root: Path, photos: tuple[str, ...], copies: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The first `count` photos as thumbnails, `side` in a row, as one data URL `src`; missing ones
    stay grey.

    Args:
        root: the folder of the images.
        photos: their names.
        copies: files of small copies (`birds.core.thumbnails`), which are used if possible.
    """
    known: dict[str, Image.Image] = {}
    for file in copies:
        known |= read_thumbnails(file)
    limit, size = next((step for step in THUMBNAILS if len(photos) <= step[0]), THUMBNAILS[-1])
    shown = photos[:limit]
    side = math.ceil(math.sqrt(len(shown)))
    image = Image.new("RGB", (side * size, side * size), "grey")
    for number, photo in enumerate(shown):
        with contextlib.suppress(OSError):
            small = known[photo] if photo in known else _opened(root / photo, size)
            place = (number % side * size, number // side * size)
            image.paste(ImageOps.fit(small, (size, size)), place)
    return {"src": _url(image, 60), "side": side, "count": len(shown)}


def _opened(photo: Path, size: int) -> Image.Image:
    with Image.open(photo) as image:
        image.draft("RGB", (size, size))
        return image.convert("RGB")


def _url(image: Image.Image, quality: int) -> str:
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"

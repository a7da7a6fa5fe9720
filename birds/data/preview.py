"""A contact sheet with one row of eight training images per class, to judge how hard the task is.

Without a training part it shows the images of the other parts. The place of an unreadable image
stays empty.
"""

from collections import defaultdict

from PIL import Image, ImageDraw

from birds.core.letters import fitted
from birds.data.deal import scanned
from birds.data.decode import Look, Unreadable
from birds.data.notes import printable
from birds.data.sources import Item, Source

IMAGES = 8
THUMBNAIL = 96
MARGIN = 150
LETTERS = 13  # pixels high
MOST_CLASSES = 60


def contact_sheet(source: Source, *, join_alike: bool | None = None) -> Image.Image:
    """The sheet of the first 60 classes by name. Raises UserError if there are no images."""
    items, _ = scanned(source, join_alike=join_alike)
    by_class: dict[str, list[str]] = defaultdict(list)
    for item in _shown(items):
        by_class[item.label or "(no label)"].append(item.id)
    names = sorted(by_class)[:MOST_CLASSES]
    sheet = Image.new("RGB", (MARGIN + IMAGES * THUMBNAIL, len(names) * THUMBNAIL), "white")
    pen = ImageDraw.Draw(sheet)
    for row, name in enumerate(names):
        words = printable(name).replace("_", " ").split(" ", 1)
        for line, text in enumerate(words):
            font, drawn = fitted(text, LETTERS, MARGIN - 12)
            place = (6, row * THUMBNAIL + 30 + line * (LETTERS + 4))
            pen.text(place, drawn, font=font, fill="black")
        step = max(1, len(by_class[name]) // IMAGES)
        for column, id in enumerate(by_class[name][::step][:IMAGES]):
            thumbnail = _thumbnail(source, id)
            if thumbnail is not None:
                sheet.paste(thumbnail, (MARGIN + column * THUMBNAIL, row * THUMBNAIL))
    return sheet


def _shown(items: list[Item]) -> list[Item]:
    """The training images, or all images if there are none."""
    return [item for item in items if item.part in ("train", None)] or items


def _thumbnail(source: Source, id: str) -> Image.Image | None:
    try:
        pixels = source.decode(id, Look(THUMBNAIL))
    except Unreadable:
        return None
    return Image.fromarray(pixels)

"""A contact sheet: one row per species, eight training photos each. Would a person tell the species
apart?

Where there is no training part, the photos of the others are shown; an unreadable photo leaves its
place empty.
"""

from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageDraw

from birds.data.cache import decode_photo
from birds.data.contents import contents_of
from birds.data.photos import scan_folder

PHOTOS = 8
THUMBNAIL = 96
MARGIN = 150
MOST_SPECIES = 60


def contact_sheet(root: Path) -> Image.Image:
    """The sheet of the first 60 species by name. Raises UserError when there are no photos."""
    found, _ = scan_folder(root)
    by_species = defaultdict(list)
    for photo in [photo for photo in found if photo.part == "train"] or found:
        by_species[photo.species].append(photo.path)
    names = sorted(by_species)[:MOST_SPECIES]
    sheet = Image.new("RGB", (MARGIN + PHOTOS * THUMBNAIL, len(names) * THUMBNAIL), "white")
    pen = ImageDraw.Draw(sheet)
    for row, name in enumerate(names):
        pen.multiline_text(
            (6, row * THUMBNAIL + 32), name.replace("_", " ").replace(" ", "\n", 1), fill="black"
        )
        step = max(1, len(by_species[name]) // PHOTOS)
        for column, path in enumerate(by_species[name][::step][:PHOTOS]):
            if not contents_of(root / path).error:
                thumbnail = Image.fromarray(decode_photo(root / path, THUMBNAIL))
                sheet.paste(thumbnail, (MARGIN + column * THUMBNAIL, row * THUMBNAIL))
    return sheet

"""The contact sheet."""

import numpy as np
import pytest

from birds.data.preview import IMAGES, MARGIN, THUMBNAIL
from birds.data.preview import contact_sheet as sheet_of
from birds.data.sources.folder import Folder


def contact_sheet(root):
    return sheet_of(Folder(Folder.Options(root=str(root))))


def cell(sheet, row: int, column: int) -> np.ndarray:
    left, top = MARGIN + column * THUMBNAIL, row * THUMBNAIL
    return np.asarray(sheet.crop((left, top, left + THUMBNAIL, top + THUMBNAIL)))


def test_a_row_per_species_and_eight_photos_each(photos_in):
    sheet = contact_sheet(
        photos_in({"train/CROW": 20, "train/WREN": 3, "valid/CROW": 2, "test/ROBIN": 2})
    )
    assert sheet.size == (MARGIN + IMAGES * THUMBNAIL, 2 * THUMBNAIL)
    shown = [
        [bool((cell(sheet, row, column) < 255).any()) for column in range(IMAGES)]
        for row in range(2)
    ]
    assert shown == [[True] * 8, [True] * 3 + [False] * 5]


def test_sixty_species_at_most(photos_in):
    sheet = contact_sheet(photos_in({f"train/SPECIES {k:02d}": 1 for k in range(63)}))
    assert sheet.height == 60 * THUMBNAIL


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_data_set_without_training_photos_is_shown_too(photos_in, part, tmp_path):
    sheet = contact_sheet(photos_in({f"{part}/CROW": 2, f"{part}/WREN": 2}))
    sheet.save(tmp_path / "preview.png")
    assert sheet.height == 2 * THUMBNAIL


def test_an_unreadable_photo_leaves_its_place_empty(photos_in):
    root = photos_in({"train/CROW": 2})
    (root / "train/CROW/001.jpg").write_bytes(b"nothing")
    sheet = contact_sheet(root)
    assert (cell(sheet, 0, 0) == 255).all()
    assert (cell(sheet, 0, 1) < 255).any()

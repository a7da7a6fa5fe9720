"""A typical user's data: a few photos with labels, many without.

    python tests/own_photos.py FOLDER_OF_CLASSES OUT

makes it from any folder of classes: `OUT/table` with all photos in one flat folder and a table
`labels.csv` of the labelled ones with their groups, and `OUT/folders` with the same photos as
`labelled/CLASS/` and `unlabelled/`.
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

LABELS = 10  # a class
IN_A_GROUP = 2  # photos of one nest


def make_case(
    classes: Path, out: Path, *, count: int = 6, labels: int = LABELS, most: int | None = None
) -> tuple[int, int]:
    """Write both forms of the data; returns the numbers of photos with and without a label.

    Args:
        classes: a folder with a folder for each class.
        out: the folder for both forms.
        count: how many classes, the first by name.
        labels: how many photos of each class have a label.
        most: how many photos of each class are used; None for all.
    """
    flat = out / "table"
    unlabelled = out / "folders" / "unlabelled"
    for folder in (flat, unlabelled):
        folder.mkdir(parents=True)
    rows = []
    without = 0
    for folder in sorted(path for path in classes.iterdir() if path.is_dir())[:count]:
        own = out / "folders" / "labelled" / folder.name
        own.mkdir(parents=True)
        for k, photo in enumerate(sorted(folder.iterdir())[:most]):
            name = f"{folder.name}-{k:03d}{photo.suffix}"
            shutil.copy(photo, flat / name)
            if k < labels:
                shutil.copy(photo, own / name)
                rows.append([name, folder.name, f"{folder.name} nest {k // IN_A_GROUP}"])
            else:
                shutil.copy(photo, unlabelled / name)
                without += 1
    with (flat / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "label", "group"], *rows])
    return len(rows), without


if __name__ == "__main__":
    labelled, rest = make_case(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{labelled} photos with a label, {rest} without, in {sys.argv[2]}")

"""Two hundred broken files in the check, in training and in prediction: all agree on each file."""

from __future__ import annotations

import csv
import re
import time
from pathlib import Path

import numpy as np
from data.malformed import malformed
from PIL import Image
from road.conftest import Road

FILES = 200
CLASSES = ("CROW", "WREN")


def broken_photos(root: Path) -> Path:
    """A data set of two classes; its training photos are broken, with six good ones per class."""
    random = np.random.default_rng(0)
    for part, count in {"train": 6, "valid": 3, "test": 3}.items():
        for name in CLASSES:
            folder = root / part / name
            folder.mkdir(parents=True)
            for k in range(count):
                pixels = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"good{k}.png")
    for k, (name, data) in enumerate(malformed(FILES)):
        (root / "train" / CLASSES[k % 2] / name).write_bytes(data)
    return root


def test_check_training_and_prediction_agree_on_every_broken_file(
    tmp_path: Path, road: Road
) -> None:
    root = broken_photos(tmp_path / "broken")
    checked = road.birds("data", "check", str(root), status=2)
    unreadable = int(re.search(r"birds: (\d+) unreadable images", checked)[1])  # type: ignore[index]
    table = root.parent / "predicted.csv"
    asked = [f"data.root={root}", "data.classes=2", "split=50", "robustness=false"]
    refused = road.train(*asked, status=2)
    assert "data.skip_unreadable=true" in refused
    assert "Traceback" not in refused
    begun = time.perf_counter()
    said = road.train(*asked, "data.skip_unreadable=true")
    assert "Traceback" not in said
    (record,) = road.records().values()
    road.birds("predict", next(iter(road.records())), str(root / "train"), "--csv", str(table))
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert time.perf_counter() - begun < 2 * FILES
    wrong = {Path(row["file"]).name for row in rows if row.get("error")}
    assert len(rows) == FILES + 6 * len(CLASSES)
    assert 20 < len(wrong) < FILES - 20
    assert unreadable == len(wrong)
    assert record["data_unreadable_skipped"] == len(wrong)

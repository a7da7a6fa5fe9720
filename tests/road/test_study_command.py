"""`birds study` on a smoke run, from the real command line to the files, and its errors."""

import json

import numpy as np
from road.conftest import Road

from birds.core.store import RunFolder
from birds.core.thumbnails import read_thumbnails


def test_layers_and_errors_of_a_real_run(road: Road) -> None:
    road.train("-m", "split=50", "variant=A", "robustness=false", "sweep=small")
    [record] = road.records().values()
    folder = RunFolder(road.runs_dir, record["key"])
    assert sum(record["by_class_labelled"]) == record["images_labelled"]
    assert len(record["by_class_labelled"]) == len(record["classes"])
    assert sum(record["by_class_test"]) == record["images_test"]

    copies = read_thumbnails(folder.thumbnails_file)
    assert set(copies) <= set(np.load(folder.predictions_file)["test_image"].tolist())
    assert all(np.asarray(image).std() > 0 for image in copies.values()), "real pixels"

    said = road.birds("study", "small", "--layers", "map 9", status=2)
    assert "no such layer" in said
    assert "choose from map 1, map 2, map 3, map 4" in said
    said = road.birds("study", "small", "--perplexity", "2", "--layers", "map 2,map 4")
    assert "a linear probe is best in layer map" in said
    rows = json.loads((folder.study / "layers.json").read_text())["layers"]
    assert [row["layer"] for row in rows] == ["map 2", "map 4"]
    assert {row["images"] for row in rows} == {record["images_test"]}
    written = road.runs_dir / "study" / "small"
    assert (written / "layers.png").read_bytes().startswith(b"\x89PNG")
    assert "## Which layer separates the classes" in (written / "study.md").read_text()

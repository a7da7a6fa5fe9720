"""The tables of every way of learning, made from the kept lines, stand in the page of results."""

import re
from pathlib import Path

import numpy as np
import pytest

from analysis.backbone_results import load
from analysis.every_way import ALONE, SPLITS, best_alone, table, ways

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "README.md"


@pytest.mark.parametrize("labels", SPLITS)
def test_the_table_stands_in_the_page(labels: int) -> None:
    page = PAGE.read_text()
    for line in table(labels).splitlines():
        assert line in page


def test_every_row_is_compared_with_one_that_is_not() -> None:
    rows = [re.split(r" *\| *", line)[1:-1] for line in table(60).splitlines()[2:]]
    alone = [row for row in rows if not row[4]]
    means = ["EfficientNet-Lite0", "ClassMeans · nearest mean, frozen"]
    assert [row[:2] for row in alone] == [means]
    for row, way in zip(rows, ways(60), strict=True):
        told = np.array(list(way.told.values()))
        assert float(row[3].split()[0]) == pytest.approx(100 * told.mean(), abs=0.051)
        assert set(np.unique(told)) == {0.0, 1.0}
        if row[4]:
            low, high = map(float, re.findall(r"[+-][\d.]+", row[4])[1:])
            shown = "below" if high < 0 else "above" if low > 0 else ""
            assert not row[6].startswith("shown to be a") or shown == "above"
            assert not row[6].startswith("shown to be b") or shown == "below"


@pytest.mark.parametrize("labels", SPLITS)
def test_the_reference_is_chosen_on_validation_photos(labels: int) -> None:
    runs = load()
    own = runs[(runs["photos_labelled"] == labels) & (runs["C"] != "auto")]
    means = own.groupby(["network", "variant"])["valid_accuracy"].mean()
    others = [means[key] for key in means.index if key[1] in ALONE]
    assert means[best_alone(labels)] == max(others)
    assert best_alone(labels)[1] == {60: "ClassMeans", 180: "Logistic"}[labels]

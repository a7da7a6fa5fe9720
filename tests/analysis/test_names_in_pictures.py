"""Unusual names of species in pictures: dollar signs, long names, letters that no font has, invalid
text.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from analysis.closeups import confusion_figure, errors_figure
from analysis.errors import reliability, reliability_figure
from analysis.latent_pictures import Space, save_sheets, spaces_figure
from analysis.palette import explain
from birds.core.letters import drawable, families, fitted, label, labels, shortened
from birds.use.picture import annotated
from birds.use.predict import Prediction

NAMES = st.text(st.characters(exclude_categories=[]), max_size=90)
ODD = [
    "$5 bill$",
    "ñandú",
    "麻雀",
    "\udcc1guia",
    "a_b^c",
    "x" * 80,
    "A&B",
    "ŁÓDŹ €",
    "\\frac",
    "🐦",
]
LONG = [f"{k:05}_Animalia_Chordata_Aves_Passeriformes_Troglodytidae_sp{k}" for k in range(10)]


def drawn(figure: Figure) -> None:
    """Draw the figure; a warning (a letter without a glyph, a failed layout) is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="svg")


@given(name=NAMES, most=st.integers(5, 60))
def test_every_name_becomes_a_label_that_can_be_drawn(name: str, most: int) -> None:
    made = label(name, most)
    assert made.count("$") == made.count(r"\$")
    assert len(made.replace(r"\$", "$")) <= most
    made.encode()
    assert drawable(made) == made


@given(names=st.lists(st.text("ab", max_size=60), unique=True, max_size=8))
def test_different_names_stay_different(names: list[str]) -> None:
    assert len(set(labels(names, 12))) == len(names)


def test_what_fits_stays_as_it_is() -> None:
    assert label("Ñandú común") == "Ñandú común"
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert drawable("麻", [families()["DejaVu Sans"]]) == r"\u9ebb"


@given(name=NAMES, width=st.integers(60, 300))
def test_a_name_fits_its_place_in_pixels(name: str, width: int) -> None:
    font, words = fitted(name, 12, width)
    assert len(words) <= 3 or font.getlength(words) <= width


@pytest.mark.parametrize("species", [ODD, LONG], ids=["odd", "long"])
def test_figures_with_such_names(species: list[str], tmp_path: Path) -> None:
    count = len(species)
    confusion = np.full((count, count), 3) + 20 * np.eye(count, dtype=int)
    drawn(confusion_figure(confusion, species, "A 90/10"))
    saved = {
        "label": np.arange(count),
        "logits": np.eye(count)[::-1].astype(np.float32),
        "image": np.array(["gone.jpg"] * count),
        "classes": np.array(species),
    }
    drawn(errors_figure(saved, tmp_path, "A 90/10"))
    places = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    metrics = {"accuracy": 0.5, "accuracy_by_chance": 0.2}
    space = Space(places, np.arange(count), np.arange(count), places, metrics)
    drawn(spaces_figure({"A": space}, species))
    save_sheets(space, species, [np.zeros((8, 8, 3), np.uint8)] * count, tmp_path / "sheets")


def test_labels_of_long_names_do_not_overprint() -> None:
    figure = confusion_figure(np.full((10, 10), 3), LONG, "A 90/10")
    figure.draw_without_rendering()
    left, right, *_ = figure.axes
    for axis in (left, right):
        box = axis.get_tightbbox()
        assert box is not None
        assert axis.get_position().width > 0.1, "the panel is still there"
        assert box.x0 >= 0
    assert left.get_tightbbox().x1 <= right.get_tightbbox().x0  # type: ignore[union-attr]


def test_letters_of_predictions_differ(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")

    def picture(name: str) -> bytes:
        return annotated([Prediction(tmp_path / "a.png", [(name, 1.0)])]).tobytes()

    pictures = [picture(name) for name in ("n", "ñ", "ú", "麻", "雀", "\udcc1")]
    assert len(set(pictures)) == len(pictures)
    assert picture("x" * 300)[: 3 * 224] == picture("x" * 400)[: 3 * 224]


def test_titles_of_panels_stay_inside_their_figure() -> None:
    bins = reliability(np.random.default_rng(0).normal(size=(80, 4)), np.arange(80) % 4)
    variants = ("A", "B1", "B2")
    figure = reliability_figure({(split, v): bins for v in variants for split in (70, 90)})
    explain(figure, "a further line below the figure")
    figure.draw_without_rendering()
    assert figure.get_tightbbox().y1 <= figure.get_size_inches()[1]

"""The embedded birds as a source."""

import pytest

from birds.core.errors import UserError
from birds.data.rendering import synthetic
from birds.data.sources.rendered import Rendered


def test_drawn_once_and_read_as_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "SPECIES", synthetic.SPECIES[:2])
    monkeypatch.setattr(synthetic, "train_photos", lambda species, seed: 3)
    source = Rendered(Rendered.Options(root=str(tmp_path / "birds"), seed=4))
    source.prepare()
    drawn = sorted(tmp_path.rglob("*.jpg"))
    source.prepare()
    items, notes = source.scan()
    assert len(items) == len(drawn) == 2 * (3 + 8 + 8)
    assert {item.part for item in items} == {"train", "valid", "test"}
    assert notes.lines() == [], "its own files are nothing to note"
    other = Rendered(Rendered.Options(root=str(tmp_path / "birds"), seed=5))
    with pytest.raises(UserError, match="delete it or choose another root"):
        other.prepare()


def test_without_a_root_it_says_what_is_missing():
    with pytest.raises(UserError, match=r"data=rendered needs data\.root=FOLDER"):
        Rendered(Rendered.Options())

"""Names of classes and parts: which spellings are the same, and which the user must clarify."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from birds.core.errors import UserError
from birds.data.files import id_of, path_of
from birds.data.names import (
    alike_pairs,
    class_name,
    is_swap,
    one_spelling,
    part_of,
    part_within,
    plain_name,
)
from birds.data.notes import Notes, printable
from birds.data.sources import Item

LETTERS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
BYTES = st.binary(min_size=1, max_size=20).filter(lambda raw: b"\0" not in raw)


def items(**labels: tuple[str, ...]) -> list[Item]:
    return [
        Item(f"{part}/{k}", label, part)
        for part, own in labels.items()
        for k, label in enumerate(own)
    ]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *[(name, "train") for name in ("train", "Training", "ENTRENAMIENTO", " train ")],
        *[(name, "valid") for name in ("valid", "val", "Validation", "validacion", "Validación")],
        (unicodedata.normalize("NFD", "validación"), "valid"),
        *[(name, "test") for name in ("Test", "TESTING", "prueba")],
        *[(name, None) for name in ("bus", "", "trains", "train images")],
    ],
)
def test_parts_by_any_of_their_names(name, part):
    assert part_of(name) == part


@pytest.mark.parametrize(
    ("name", "part"),
    [("train_images", "train"), ("Test set", "test"), ("val-2", "valid"), ("CROW", None)],
)
def test_names_that_speak_of_a_part(name, part):
    assert part_within(name) == part


@given(LETTERS)
def test_case_blanks_underscores_and_unicode_form_do_not_tell_names_apart(name):
    assume(plain_name(name))
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, f" {name.replace(' ', '__')} ")
        assert plain_name(other) == plain_name(name)
    assert plain_name(plain_name(name)) == plain_name(name)


@given(BYTES)
def test_any_name_of_a_file_has_an_id_that_can_be_written_and_leads_back(raw):
    name = raw.decode("utf-8", "surrogateescape")
    id_of(name).encode()
    assert path_of(id_of(name)) == name
    class_name(name).encode()


@given(BYTES)
def test_a_note_is_one_line(raw):
    (line,) = Notes().having("other_files", [raw.decode("utf-8", "surrogateescape")]).lines()
    assert line.isprintable()


def test_a_folder_name_of_windows_is_read_as_windows_wrote_it():
    assert class_name(b"\xc1guia".decode("utf-8", "surrogateescape")) == "Águia"


@pytest.mark.parametrize(
    ("one", "other", "swap"),
    [
        ("parakett akulet", "parakett auklet", True),
        ("eastern", "western", False),
        ("class 12", "class 21", False),
        ("abc", "cba", False),
        ("crow", "crows", False),
        ("crow", "crow", False),
    ],
)
def test_two_neighbouring_letters_swapped(one, other, swap):
    assert is_swap(one, other) is swap


def test_a_swap_is_joined_and_counted():
    joined, notes = one_spelling(items(train=("AKULET", "CROW"), test=("AUKLET", "crow")))
    assert [item.label for item in joined] == ["AKULET", "CROW", "AKULET", "CROW"]
    assert notes.names("spellings_joined") == ("AKULET (AUKLET)", "CROW (crow)")


EAST = items(train=("WESTERN BLUEBIRD", "CROW"), test=("EASTERN BLUEBIRD", "CROW"))


def test_names_that_merely_look_alike_need_a_word():
    with pytest.raises(UserError, match=r"EASTERN BLUEBIRD.*WESTERN.*data\.join_alike=true"):
        one_spelling(EAST)
    apart, _ = one_spelling(EAST, join_alike=False)
    assert apart == EAST
    joined, notes = one_spelling(EAST, join_alike=True)
    assert joined[2].label == "WESTERN BLUEBIRD"
    assert notes.counts() == {"spellings_joined": 1}


def test_two_forms_of_unicode_are_one_class():
    forms = [unicodedata.normalize(form, "Ñandú") for form in ("NFC", "NFD")]
    joined, notes = one_spelling(items(train=(forms[0],), test=(forms[1],)))
    assert {item.label for item in joined} == {forms[0]}
    assert notes.counts()["spellings_joined"] == 1


def test_notes_name_five_and_keep_all(tmp_path):
    notes = Notes().having("other_files", [f"{k}.txt" for k in range(7)]).having("stray_files", ())
    kept = notes.written(tmp_path / "cache/notes.txt")
    first, where = kept.lines()
    assert first.startswith("7 files in class folders")
    assert first.endswith("0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more")
    assert str(tmp_path / "cache/notes.txt") in where
    assert "  6.txt\n" in (tmp_path / "cache/notes.txt").read_text()
    assert kept.counts() == {"other_files": 7, "stray_files": 0}


def test_few_names_need_no_file(tmp_path):
    Notes().having("other_files", ["a.txt"]).written(tmp_path / "notes.txt")
    assert not (tmp_path / "notes.txt").exists()


def test_odd_letters_are_shown_escaped():
    assert printable("a\nb\udcc1") == "a\\nb\\udcc1"


def test_classes_that_differ_by_a_letter_are_pointed_out():
    names = ("robin", "robins", "ROBNI", "crow", "craw", "class 1", "class 2", "house wren")
    assert alike_pairs(names) == ["ROBNI ~ robin", "robin ~ robins"]
    assert alike_pairs(["0", "1", "n01440764", "n01440765"]) == []

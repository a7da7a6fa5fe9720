"""A CSV of files, labels and parts: valid tables and typical mistakes."""

import csv
import io
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birds.core.errors import UserError
from birds.data.csv_rows import read_rows
from birds.data.deal import read_images
from birds.data.sources.table import Table

FILES = [f"{number:03d}.jpg" for number in range(1, 25)]


@pytest.fixture
def root(photos_in) -> Path:
    return photos_in({"images": 24}) / "images"


@pytest.fixture
def scan(root):
    """Scan a table of the given text, with options."""

    def scanning(text: str | bytes, **options):
        data = text if isinstance(text, bytes) else text.encode()
        (root / "table.csv").write_bytes(data)
        return Table(Table.Options(root=str(root), file="table.csv", **options)).scan()

    return scanning


def rows(delimiter: str = ",", header: str = "file,label,part") -> str:
    lines = [header.replace(",", delimiter)] if header else []
    for k, file in enumerate(FILES):
        label = "" if k % 6 == 5 else ("crow", "wren")[k % 2]
        lines.append(delimiter.join([file, label, ("train", "test")[k // 3 % 3 == 2]]))
    return "\n".join(lines) + "\n"


def test_rows_are_images_with_label_and_part(scan):
    items, notes = scan(rows())
    assert [item.id for item in items] == FILES
    assert items[0][1:3] == ("crow", "train")
    assert items[5][1:3] == (None, "train")
    assert items[17][1:3] == (None, "test")
    assert sum(notes.counts().values()) == 0


@pytest.mark.parametrize("chosen", [None, " "])
def test_columns_between_any_number_of_blanks(tmp_path, chosen):
    file = tmp_path / "labels.csv"
    file.write_text("images/1.png  1.0    mono\nimages/20.png 0.0 poly  \n images/3.png 1.0 mono\n")
    rows = read_rows(file, chosen)
    assert rows.delimiter == " "
    assert [row[:2] for row in rows.cells] == [
        ["images/1.png", "1.0"],
        ["images/20.png", "0.0"],
        ["images/3.png", "1.0"],
    ]


def test_blanks_in_names_cut_nothing(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("a b.jpg,common crow\nc d.jpg,wren of winter\n")
    assert read_rows(file, None).delimiter == ","


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_any_delimiter_and_mark_are_found(scan, delimiter, encoding):
    text = rows(delimiter).replace("crow", "águila").replace("\n", "\r\n")
    items, _ = scan(text.encode(encoding))
    assert Counter(item.label for item in items) == {"águila": 12, "wren": 8, None: 4}


def test_columns_by_name_by_number_and_without_header(scan):
    text = rows(header="where,what,when")
    by_name = scan(text, columns={"file": "where", "label": "what", "part": "when"})
    by_number = scan(text, columns={"file": 1, "label": 2, "part": 3})
    bare = scan(rows(header=""), header=False, columns={"part": 3})
    assert by_name.items == by_number.items == bare.items
    assert {item.part for item in scan(rows(header=""), header=False).items} == {None}


def test_through_the_reader_rows_without_a_label_are_unlabelled(root, tmp_path):
    (root / "table.csv").write_text(rows().replace("crow", "Crow", 1))
    source = Table(Table.Options(root=str(root), file=str(root / "table.csv")))
    images = read_images(source, tmp_path / "cache", classes=9, seed=0)
    assert images.classes == ("Crow", "wren")
    assert images.notes.names("spellings_joined") == ("Crow (crow)",)
    assert images.notes.names("unlabelled_left_out") == ("018.jpg",)  # of the test part
    assert len(images.unlabelled_rows()) == 3
    assert Counter(images.part.tolist())["test"] == 5


def test_unlabelled_images_are_training_images_and_come_last(root, tmp_path):
    source = Table(Table.Options(root=str(root), file="table.csv"))
    text = "file,label\n" + "".join(
        ",".join(row.split(",")[:2]) + "\n" for row in rows(header="").splitlines()
    )
    (root / "table.csv").write_text(text)
    images = read_images(source, tmp_path / "cache", classes=9, seed=0)
    assert images.unlabelled_rows().tolist() == [20, 21, 22, 23]
    assert set(images.part[20:]) == {"train"}
    assert set(images.rows("train")) == set(images.labelled_rows()) | {20, 21, 22, 23}


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("", {}, "is an empty table"),
        (rows(header=""), {}, r"no header: choose data\.table\.header=false"),
        (rows(), {"header": False}, r"a header, choose data\.table\.header=true"),
        (
            rows(";"),
            {"delimiter": ","},
            r"no column with a known name for files.*choose data\.table\.delimiter=';'",
        ),
        (rows(), {"delimiter": ", "}, "a delimiter is one character"),
        (rows(), {"columns": {"label": "lable"}}, "no such column; did you mean label"),
        (rows(), {"columns": {"label": 4}}, "has 3 columns"),
        (rows(), {"columns": {"label": 1}}, "two meanings"),
        (rows(header=""), {"header": False, "columns": {"file": "file"}}, "have no names"),
        (
            rows().replace("002.jpg", "gone.jpg"),
            {},
            r"24 images, and 1 of them.*gone\.jpg.*skip_missing",
        ),
        (rows() + "001.jpg,wren,train\n", {}, "001.jpg twice, as 'crow' of train and as 'wren'"),
        (rows() + "001.jpg,crow,test\n", {}, "twice"),
        (rows() + ",crow,test\n", {}, "a row without a file"),
        (rows() + "../a.jpg,crow,test\n", {}, "is not below data.root"),
        (rows().replace(",test", ",tets"), {}, "the part 'tets' for 007.jpg"),
        ("file,label\n" + "x" * 200_000, {}, "cannot read .* as a table"),
        ("file,label\na\0b,crow\n", {}, "not below|cannot read"),
    ],
)
def test_what_is_wrong_is_one_sentence(scan, text, options, sentence):
    with pytest.raises(UserError, match=sentence) as refusal:
        scan(text, **options)
    assert "\n" not in str(refusal.value)


def test_equal_rows_are_read_once_and_missing_ones_left_out_if_allowed(scan):
    text = rows() + "001.jpg,crow,train\ngone.jpg,crow,train\n"
    items, notes = scan(text, skip_missing=True)
    assert len(items) == 24
    assert notes.names("rows_doubled") == ("001.jpg",)
    assert notes.names("rows_missing") == ("gone.jpg",)


def test_a_suffix_and_the_paths_of_windows(scan, root):
    (root / "below").mkdir()
    (root / "001.jpg").rename(root / "below/001.jpg")
    text = "file,label\n.\\below\\001,crow\n002,wren\n"
    items, _ = scan(text, suffix=".jpg", unnamed="left_out")
    assert [item.id for item in items] == ["below/001.jpg", "002.jpg"]


def test_a_table_that_is_not_there_or_not_said(root):
    for options in ({"file": "other.csv"}, {}):
        with pytest.raises(UserError, match=r"data\.table\.file="):
            Table(Table.Options(root=str(root), **options)).scan()
    with pytest.raises(UserError, match=r"data=table needs data\.root=FOLDER: ask Eva"):
        Table(Table.Options(hint="ask Eva"))


CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=9)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=2, max_size=9), st.sampled_from(",;\t|"))
def test_what_a_writer_wrote_is_read(tmp_path_factory, table, delimiter):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(table)
    file = tmp_path_factory.mktemp("table") / "a.csv"
    file.write_text(text.getvalue(), encoding="utf-8", newline="")
    expected = [list(row) for row in table if any(cell.strip() for cell in row)]
    if expected:
        assert read_rows(file, delimiter).cells == expected

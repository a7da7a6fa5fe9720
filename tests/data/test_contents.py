"""The contents of each file are read once, and again when the file changes."""

import os

import pytest

from birds.data import contents
from birds.data.contents import contents_of

PATHS = [f"train/CROW/{number:03d}.jpg" for number in range(1, 6)]


def read_contents(root, ids, cache_dir):
    return contents.read_contents(root, ids, cache_dir, root.joinpath)


@pytest.fixture
def root(photos_in):
    return photos_in({"train/CROW": 5})


@pytest.fixture
def opened(monkeypatch):
    """The names of the opened files, in order."""
    names: list[str] = []

    def counted(path):
        names.append(path.name)
        return contents_of(path)

    monkeypatch.setattr(contents, "contents_of", counted)
    return names


def test_a_second_start_reads_no_file(root, tmp_path, opened):
    first = read_contents(root, PATHS, tmp_path / "cache")
    assert len(opened) == 5
    assert read_contents(root, PATHS, tmp_path / "cache") == first
    assert read_contents(root, PATHS[:2], tmp_path / "cache") == {
        path: first[path] for path in PATHS[:2]
    }
    assert len(opened) == 5


def test_a_changed_file_is_read_again(root, tmp_path, opened, draw_photo):
    before = read_contents(root, PATHS, tmp_path / "cache")
    draw_photo(4711).save(root / PATHS[2])
    after = read_contents(root, PATHS, tmp_path / "cache")
    assert opened[5:] == ["003.jpg"]
    assert {path for path in PATHS if before[path].sha != after[path].sha} == {PATHS[2]}


def test_a_file_of_equal_size_but_later_time_is_read_again(root, tmp_path, opened):
    read_contents(root, PATHS, tmp_path / "cache")
    data = bytearray((root / PATHS[0]).read_bytes())
    data[-10] ^= 255
    (root / PATHS[0]).write_bytes(data)
    os.utime(root / PATHS[0], ns=(0, 1))
    read_contents(root, PATHS, tmp_path / "cache")
    assert opened[5:] == ["001.jpg"]


@pytest.mark.parametrize(
    "damage", ["cut short", "[]", '{"version": 2, "files": [1]}', "\xff", '{"version": 0}', ""]
)
def test_a_damaged_index_is_built_again(root, tmp_path, opened, damage):
    first = read_contents(root, PATHS, tmp_path / "cache")
    (index,) = (tmp_path / "cache").glob("index-*.json")
    text = index.read_text()
    index.write_bytes(
        text[: len(text) // 2].encode() if damage == "cut short" else damage.encode("latin-1")
    )
    assert read_contents(root, PATHS, tmp_path / "cache") == first
    assert index.read_text() == text
    assert len(opened) == 10


def test_equal_files_have_equal_hashes_wherever_they_lie(root, tmp_path):
    (root / "copy.jpg").write_bytes((root / PATHS[0]).read_bytes())
    assert (
        contents_of(root / "copy.jpg").sha
        == contents_of(root / PATHS[0]).sha
        != contents_of(root / PATHS[1]).sha
    )
    assert contents_of(root / "copy.jpg").error == ""


def test_a_file_that_is_not_there_is_unreadable(root):
    assert contents_of(root / "gone.jpg").error == "No such file or directory"

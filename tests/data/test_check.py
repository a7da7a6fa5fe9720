"""What the check of a folder finds: duplicates, unreadable files, CSV rows without a photo."""

import shutil

import pytest
from PIL import Image, ImageEnhance

from birds.core.errors import UserError
from birds.data.check import Look, as_text, check_source, csv_rows_without_file, near_duplicates
from birds.data.sources.folder import Folder


def check_folder(root):
    return check_source(Folder(Folder.Options(root=str(root))))


@pytest.fixture
def root(tmp_path, draw_photo):
    """Two species in two parts, with eight different photos of 96 pixels each."""
    root = tmp_path / "photos"
    for k, folder in enumerate(("train/CROW", "train/WREN", "valid/CROW", "valid/WREN")):
        (root / folder).mkdir(parents=True)
        for number in range(8):
            draw_photo(100 * k + number, 96).save(root / folder / f"{number}.jpg", quality=95)
    return root


def test_unrelated_photos_are_no_duplicates(root):
    report = check_folder(root)
    assert len(report.images) == 32
    assert (report.exact, report.near, report.unreadable, report.csv_rows_without_file) == (
        [],
        [],
        [],
        None,
    )


def test_exact_copies_within_and_across_parts(root):
    shutil.copy(root / "train/CROW/1.jpg", root / "train/CROW/again.jpg")
    shutil.copy(root / "train/WREN/2.jpg", root / "valid/WREN/again.jpg")
    report = check_folder(root)
    assert sorted(map(sorted, report.exact)) == [
        ["train/CROW/1.jpg", "train/CROW/again.jpg"],
        ["train/WREN/2.jpg", "valid/WREN/again.jpg"],
    ]
    assert report.crossing(report.exact) == 1
    assert report.near == []


def test_near_copies_within_and_across_parts(root):
    with Image.open(root / "train/CROW/1.jpg") as photo:
        photo.save(root / "train/CROW/smaller.jpg", quality=70)
    with Image.open(root / "train/WREN/2.jpg") as photo:
        ImageEnhance.Brightness(photo).enhance(1.05).save(
            root / "valid/WREN/brighter.jpg", quality=95
        )
    report = check_folder(root)
    assert report.exact == []
    assert sorted(map(sorted, report.near)) == [
        ["train/CROW/1.jpg", "train/CROW/smaller.jpg"],
        ["train/WREN/2.jpg", "valid/WREN/brighter.jpg"],
    ]
    assert report.crossing(report.near) == 1


@pytest.mark.parametrize(
    ("bits", "alike"), [(0, True), (1, True), (3, True), (4, False), (12, False)]
)
def test_photos_alike_are_those_that_differ_in_three_bits_or_fewer(bits, alike):
    places = [0, 20, 40, 21, 41, 1, 2, 3, 22, 23, 42, 43][
        :bits
    ]  # spread over the four words of 16 bits
    hashes = {
        "a": 0x0123456789ABCDEF,
        "b": 0x0123456789ABCDEF ^ sum(1 << place for place in places),
    }
    looks = {path: Look(path, phash, (96, 96), "RGB", "") for path, phash in hashes.items()}
    assert near_duplicates(looks) == ([("a", "b")] if alike else [])


def test_plain_surfaces_do_not_look_alike(root):
    for number in range(3):
        Image.new("RGB", (64, 64), (100 + number, 100, 100)).save(
            root / f"train/CROW/plain{number}.png"
        )
    assert check_folder(root).near == []


def test_unreadable_files_are_listed_and_are_no_duplicates_of_one_another(root):
    (root / "train/CROW/cut.jpg").write_bytes((root / "train/CROW/1.jpg").read_bytes()[:-300])
    (root / "train/CROW/gone1.jpg").symlink_to(root / "nothing1.jpg")
    (root / "train/CROW/gone2.jpg").symlink_to(root / "nothing2.jpg")
    report = check_folder(root)
    assert report.unreadable == [
        "train/CROW/cut.jpg",
        "train/CROW/gone1.jpg",
        "train/CROW/gone2.jpg",
    ]
    assert (report.exact, report.near) == ([], [])


@pytest.mark.parametrize("header", ["", "class id,filepaths,labels,data set,scientific name\n"])
def test_csv_rows_that_name_a_missing_photo_are_counted(root, header):
    rows = ["train/CROW/1.jpg", "train/CROW/77.jpg", "valid/WREN/3.jpg", "test/WREN/1.jpg"]
    (root / "birds.csv").write_text(
        header + "".join(f"0,{row},NAME,part,LATIN NAME\n" for row in rows)
    )
    assert (
        check_folder(root).csv_rows_without_file == 1
    )  # rows of the missing test part do not count


def test_a_long_csv_is_read_in_no_time(tmp_path):
    paths = {f"train/SPECIES {k % 500}/{k}.jpg" for k in range(60_000)}
    (tmp_path / "birds.csv").write_text("".join(f"0,{path},NAME\n" for path in paths))
    assert csv_rows_without_file(tmp_path, paths) == 0


def test_the_text_says_what_was_found(root, draw_photo):
    shutil.copy(root / "train/CROW/1.jpg", root / "valid/WREN/again.jpg")
    (root / "train/CROW/none.jpg").write_bytes(b"nothing")
    draw_photo(5, 64).convert("L").save(root / "train/WREN/grey.png")
    text = as_text(check_folder(root))
    assert "35 images of 2 classes" in text
    assert "train      18 images, 9 per class" in text
    assert "96x96 px, 1 other images; not RGB: {'L': 1}" in text
    assert "unreadable: 1\n    train/CROW/none.jpg: not an image" in text
    assert "exact duplicates: 1 groups, 1 of them across parts" in text


def test_a_folder_without_photos_is_refused(tmp_path):
    with pytest.raises(UserError, match="contains no image"):
        check_folder(tmp_path)


def test_what_the_reader_leaves_out_or_asks_stands_in_the_text(root, draw_photo):
    for part, name in (("train", "WESTERN BLUEBIRD"), ("valid", "EASTERN BLUEBIRD")):
        (root / part / name).mkdir()
        draw_photo(len(part), 96).save(root / part / name / "1.jpg")
    (root / "train/CROW/a.txt").write_text("x")
    text = as_text(check_folder(root))
    assert (
        "1 names that you must decide on before a sweep: the class 'EASTERN BLUEBIRD' has valid"
        in text
    )
    assert "train/CROW/a.txt" in text
    assert "1 classes without training images, left out: EASTERN BLUEBIRD" in text


def test_a_csv_with_a_long_field_is_no_hindrance(root):
    (root / "birds.csv").write_text("x" * 200_000 + ",train/CROW/1.jpg\n")
    assert check_folder(root).csv_rows_without_file is None

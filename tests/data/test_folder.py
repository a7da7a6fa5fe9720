"""The reader of folders: unusual folders, the selection of photos, and errors."""

import os
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from birds.core.errors import UserError
from birds.data.cache import decoded_images
from birds.data.deal import read_images, scanned
from birds.data.images import Images
from birds.data.names import LITTER, means_no_class, plain_name
from birds.data.sources import Scan
from birds.data.sources.folder import Folder

THREE = {"train/CROW": 9, "train/ROBIN": 8, "train/WREN": 8} | {
    f"{part}/{name}": 2 for part in ("valid", "test") for name in ("CROW", "ROBIN", "WREN")
}


@pytest.fixture
def read(tmp_path):
    """Read a root with choices that work for few photos."""

    def reading(root: Path, **choices) -> Images:
        source = Folder(Folder.Options(root=str(root)))
        usual = {"classes": 20, "test": "auto", "seed": 0}
        return read_images(source, tmp_path / "cache", **usual | choices)

    return reading


def scan_folder(root: Path) -> Scan:
    return scanned(Folder(Folder.Options(root=str(root))))


def counts(images: Images) -> dict[str, int]:
    return dict(Counter(images.part.tolist()))


def test_reads_parts_and_labels(photos_in, read):
    images = read(photos_in(THREE))
    assert images.classes == ("CROW", "ROBIN", "WREN")
    assert counts(images) == {"train": 25, "valid": 6, "test": 6}
    for path, label, part in zip(images.ids, images.label, images.part, strict=True):
        assert path.split("/")[:2] == [part, images.classes[label]]
        assert images.source.file(path).is_file()
    assert images.rows("test").tolist() == [
        k for k, path in enumerate(images.ids) if path.startswith("test/")
    ]


def test_blanks_in_names_are_kept_and_names_match_without_case_or_underscores(photos_in, read):
    spellings = {
        "train/BLACK  CAPPED_TIT": 5,
        "valid/Black capped tit": 2,
        "test/black_capped_tit": 1,
    }
    images = read(photos_in(spellings | {f"{part}/WREN": 4 for part in ("train", "valid", "test")}))
    assert images.classes == ("BLACK  CAPPED_TIT", "WREN")
    assert Counter(zip(images.label.tolist(), images.part.tolist(), strict=True))[0, "valid"] == 2
    assert Counter(zip(images.label.tolist(), images.part.tolist(), strict=True))[0, "test"] == 1
    assert images.notes.counts()["spellings_joined"] == 1


def test_a_species_spelled_two_ways_is_one(photos_in, read):
    two_ways = {
        "train/PARAKETT  AKULET": 6,
        "valid/PARAKETT  AUKLET": 2,
        "test/PARAKETT  AUKLET": 2,
    }
    images = read(
        photos_in(two_ways | {f"{part}/CRESTED AUKLET": 4 for part in ("train", "valid", "test")})
    )
    assert images.classes == ("CRESTED AUKLET", "PARAKETT  AKULET")
    assert counts(images) == {"train": 10, "valid": 6, "test": 6}
    assert images.notes.counts()["spellings_joined"] == 1


def test_species_that_only_look_alike_stay_apart(photos_in):
    alike = ("RED WINGED BLACKBIRD", "RED WINGED BLACKBIRDS")
    in_train = {f"train/{name}": 4 for name in alike}
    found, notes = scan_folder(
        photos_in(in_train | {f"valid/{alike[0]}": 2, f"test/{alike[1]}": 3})
    )
    assert notes.counts()["spellings_joined"] == 0
    assert Counter((photo.label, photo.part) for photo in found if photo.part != "train") == {
        (alike[0], "valid"): 2,
        (alike[1], "test"): 3,
    }


def test_a_spelling_is_matched_among_the_species_that_lack_their_photos(photos_in):
    in_both = {
        f"{part}/PARAKETT  AUKLETS": 3 for part in ("train", "valid")
    }  # a closer spelling, but it has photos in this part
    found, _ = scan_folder(
        photos_in(in_both | {"train/PARAKETT  AKULET": 3, "valid/PARAKETT  AUKLET": 2})
    )
    assert Counter(photo.label for photo in found) == {
        "PARAKETT  AUKLETS": 6,
        "PARAKETT  AKULET": 5,
    }


@pytest.mark.parametrize(
    "name", ["MUTE SWAN", "mute_swan", "Mute  Swan", " MUTE SWAN ", "MUTE SWAN'"]
)
def test_plain_name(name):
    assert plain_name(name) == "mute swan"


@pytest.mark.parametrize(
    "csv", [None, "1,train/CROW/001.jpg,CROW,train\n", "class id,filepaths,labels\n1,a,b\n"]
)
def test_folders_are_the_truth_whatever_the_csv_says(photos_in, read, csv):
    root = photos_in(THREE)
    expected = read(root)
    if csv is not None:
        (root / "birds.csv").write_text(csv)
    images = read(root)
    assert images.digest == expected.digest
    assert images.notes.counts()["stray_files"] == (csv is not None)


def test_stray_files_and_folders_are_left_alone(photos_in, read, write_photos):
    root = photos_in(THREE)
    expected = read(root).digest
    (root / "EfficientNetB0-525.h5").write_bytes(b"weights")
    (root / "train" / "Thumbs.db").write_bytes(b"x")
    (root / "train" / "CROW" / "notes.txt").write_text("seen in May")
    (root / "train" / "CROW" / "._001.jpg").write_bytes(b"Mac OS X")
    (root / ".git").mkdir()
    (root / "train" / ".ipynb_checkpoints").mkdir()
    write_photos(root, {"images to predict": 2})
    images = read(root)
    assert images.digest == expected
    assert images.notes.counts()["stray_files"] == 1


@pytest.mark.parametrize("name", ["a.JPG", "b.jpeg", "c.Png", "d.webp", "e.bmp"])
def test_every_usual_ending_is_a_photo(photos_in, draw_photo, name):
    root = photos_in(THREE)
    draw_photo(5).save(root / "train/CROW" / name)
    assert f"train/CROW/{name}" in [photo.id for photo in scan_folder(root)[0]]


def test_a_folder_that_cannot_be_read_is_refused_by_name(photos_in, read):
    root = photos_in(THREE)
    (root / "train/LOOP").symlink_to(root / "train/LOOP")
    with pytest.raises(UserError, match=r"cannot read .*train/LOOP"):
        read(root)


def test_validation_folder_and_no_test_part(photos_in, read):
    root = photos_in({"train/A": 10, "train/B": 10, "validation/A": 3, "validation/B": 3})
    with pytest.raises(UserError, match=r"has no test part; choose data\.test=auto"):
        read(root, test=0)
    assert counts(read(root)) == {"train": 16, "valid": 6, "test": 4}
    assert counts(read(root, test=2)) == {"train": 16, "valid": 6, "test": 4}


def test_flat_folder_gets_every_part(photos_in, read):
    images = read(photos_in({"A": 20, "B": 30}), test=3)
    by_species = Counter(zip(images.label.tolist(), images.part.tolist(), strict=True))
    assert by_species == {(0, "train"): 15, (0, "valid"): 2, (0, "test"): 3} | {
        (1, "train"): 24,
        (1, "valid"): 3,
        (1, "test"): 3,
    }


def test_keeps_the_species_with_most_training_photos_ties_by_name(photos_in, read):
    root = photos_in(
        {f"train/{name}": n for name, n in {"AA": 4, "BB": 6, "CZ": 5, "DA": 5}.items()}
        | {"test/AA": 9}
    )
    assert read(root, classes=2, test=1).classes == ("BB", "CZ")
    assert read(root, classes=3, test=1).classes == ("BB", "CZ", "DA")
    assert len(read(root, classes=None, test=1).classes) == len(list((root / "train").iterdir()))


def test_moves_the_same_photos_for_the_same_seed(photos_in, read):
    root = photos_in(THREE)
    once, again, other = (read(root, test=3, seed=seed) for seed in (5, 5, 6))
    moved = {path for path, part in zip(once.ids, once.part, strict=True) if part == "test"}
    assert once.part.tolist() == again.part.tolist() != other.part.tolist()
    assert once.ids == other.ids  # a row is the same photo, in whichever part
    from_train = Counter(path.split("/")[1] for path in moved if path.startswith("train/"))
    assert from_train == {"CROW": 3, "ROBIN": 3, "WREN": 3}
    assert counts(once) == {"train": 16, "valid": 6, "test": 15}


def test_a_species_moves_the_same_photos_whoever_else_is_there(photos_in, read):
    root = photos_in(THREE)
    crows = [path for path in paths_in_test(read(root, test=3)) if "CROW" in path]
    shutil.rmtree(root / "train" / "WREN")
    assert [path for path in paths_in_test(read(root, test=3)) if "CROW" in path] == crows


def paths_in_test(images: Images) -> list[str]:
    return [images.ids[row] for row in images.rows("test")]


def test_a_class_too_small_is_refused_with_the_numbers(photos_in, read):
    root = photos_in({"train/CROW": 9, "train/WREN": 5})
    with pytest.raises(UserError) as refusal:
        read(root, test=4)
    assert "WREN has 5 training images" in str(refusal.value)
    assert "move 4 to test and 1 to validation" in str(refusal.value)
    assert "choose a smaller data.test" in str(refusal.value)


def test_an_empty_class_is_refused_by_name(photos_in, read):
    with pytest.raises(
        UserError, match=r"class 'WREN' has no images in .*train: fill its folder or remove it"
    ):
        read(photos_in(THREE | {"train/WREN": 0}))


def test_what_is_no_data_set_is_refused(photos_in, read, tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="contains no image: expected train"):
        read(tmp_path / "empty")
    with pytest.raises(UserError, match="1 classes; at least two are needed"):
        read(photos_in({"train/CROW": 4}))


def test_the_folder_above_the_data_set_is_refused_with_the_right_one(photos_in, read):
    root = photos_in(THREE)
    with pytest.raises(UserError, match=f"data.root={root}"):
        read(root.parent)


def test_a_data_set_of_validation_photos_alone_is_refused(photos_in, read):
    with pytest.raises(UserError, match=r"has no train part, only valid"):
        read(photos_in({"valid/CROW": 4, "valid/WREN": 4}))


def test_train_photos_that_stand_in_valid_or_test_are_dropped(photos_in, read):
    root = photos_in(THREE)
    shutil.copy(root / "test/CROW/001.jpg", root / "train/CROW/900.jpg")
    shutil.copy(root / "test/CROW/002.jpg", root / "valid/CROW/901.jpg")
    shutil.copy(root / "valid/WREN/001.jpg", root / "train/ROBIN/902.jpg")
    images = read(root)
    assert images.notes.counts()["duplicates_dropped"] == 3
    assert counts(images) == {"train": 25, "valid": 6, "test": 6}


def test_a_photo_moved_to_test_leaves_no_copy_in_train(photos_in, read):
    root = photos_in(THREE)
    for name in sorted((root / "train/CROW").iterdir()):
        shutil.copy(name, name.with_name(f"copy-{name.name}"))
    images = read(root, test=4)
    parts = {
        part: {images.content[row] for row in images.rows(part)}
        for part in ("train", "valid", "test")
    }
    assert not parts["train"] & parts["test"]
    assert not parts["train"] & parts["valid"]
    assert images.notes.counts()["duplicates_dropped"] > 0
    assert len(images.ids) == 25 + 9 + 12 - images.notes.counts()["duplicates_dropped"]


def test_digest_is_of_the_photos_not_of_the_place(photos_in, read, tmp_path, draw_photo):
    root = photos_in(THREE)
    digest = read(root, test=2).digest
    copy = shutil.copytree(root, tmp_path / "elsewhere")
    assert read(copy, test=2).digest == digest
    draw_photo(77).save(copy / "train/CROW/001.jpg")
    assert read(copy, test=2).digest != digest
    assert read(root, test=2, seed=1).digest != digest
    assert read(root, test=1).digest != digest


def test_equal_digests_mean_equal_rows(photos_in, read, tmp_path):
    """A cut is drawn over rows, so photos in another order form another data set."""
    root = photos_in(THREE)
    renamed = shutil.copytree(root, tmp_path / "renamed")
    for photo in sorted((renamed / "train/CROW").iterdir()):
        photo.rename(photo.with_name(f"{100 - int(photo.stem):03d}-.jpg"))
    one, other = read(root), read(renamed)
    assert one.content != other.content
    assert one.digest != other.digest


@pytest.mark.parametrize("how", ["cut short", "no image", "empty", "dangling link", "a folder"])
def test_an_unreadable_photo_is_refused_by_name_or_skipped(photos_in, read, how):
    root = photos_in(THREE)
    victim = root / "train/ROBIN/003.jpg"
    whole = victim.read_bytes()
    victim.unlink()
    if how == "a folder":
        victim.mkdir()
    elif how == "dangling link":
        victim.symlink_to(root / "gone.jpg")
    else:
        victim.write_bytes(
            {"cut short": whole[:-200], "no image": b"<html>404</html>", "empty": b""}[how]
        )
    with pytest.raises(UserError) as refusal:
        read(root)
    assert str(victim) in str(refusal.value)
    assert "data.skip_unreadable=true" in str(refusal.value)
    images = read(root, skip_unreadable=True)
    assert images.notes.counts()["unreadable_skipped"] == 1
    assert counts(images) == {"train": 24, "valid": 6, "test": 6}


def test_several_unreadable_photos_are_counted(photos_in, read):
    root = photos_in(THREE)
    for name in ("001", "002", "003"):
        (root / f"train/ROBIN/{name}.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"001.jpg and 2 more \(not an image\)"):
        read(root)


def test_scan_counts_a_species_once_however_often_it_is_respelled(photos_in):
    _, notes = scan_folder(
        photos_in({"train/MUTE SWAN": 3, "valid/Mute swan": 1, "test/mute_swan": 1, "train/A": 2})
    )
    assert notes.counts()["spellings_joined"] == 1


def test_a_spelling_of_the_same_folder_is_joined_with_parts_or_without(photos_in, read, tmp_path):
    flat = read(photos_in({"Crow": 6, "crow": 6, "wren": 9}))
    assert flat.classes == ("Crow", "wren")
    assert flat.notes.names("spellings_joined") == ("Crow (crow)",)


def test_case_in_one_part_is_joined_too(photos_in, read):
    images = read(photos_in({"train/Crow": 6, "train/crow": 6, "train/wren": 9}))
    assert images.classes == ("Crow", "wren")


@pytest.mark.parametrize("names", [("Training", "Testing"), ("entrenamiento", "prueba")])
def test_parts_under_other_names(photos_in, read, names):
    counted = {f"{part}/{name}": 8 for part in names for name in ("CROW", "WREN")}
    images = read(photos_in(counted))
    assert counts(images) == {"train": 14, "valid": 2, "test": 16}


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        ({"train_images/A": 4, "train_images/B": 4}, "'train_images'.*rename it to train"),
        ({"train_images": 4, "test_images": 4}, "rename it to t"),
        ({"train": 4, "test": 4}, "contains images but no folder per class"),
        ({"train/A/2021": 4, "train/B": 4}, r"'A' has its 4 images in subfolders \(train/A/2021"),
        ({}, "contains no image"),
    ],
)
def test_a_layout_that_is_another_gets_its_cure(photos_in, read, tmp_path, folders, sentence):
    root = photos_in(folders)
    root.mkdir(exist_ok=True)
    with pytest.raises(UserError, match=sentence):
        read(root)


def test_images_beside_no_folder_get_a_cure(tmp_path, draw_photo, read):
    draw_photo(1).save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"it has 1 images outside any folder.*data=table"):
        read(tmp_path)


def test_a_class_called_train_is_a_class(photos_in, read):
    assert read(photos_in({"bus": 9, "car": 9, "train": 9})).classes == ("bus", "car", "train")


def test_what_is_left_out_is_named(photos_in, read, draw_photo):
    root = photos_in(THREE)
    for name in ("photo.heic", "notes.txt"):
        (root / "train/CROW" / name).write_bytes(b"x")
    (root / "train/CROW/2021").mkdir()
    draw_photo(7).save(root / "train/CROW/2021/a.jpg")
    draw_photo(8).save(root / "train/alone.jpg")
    for name in (".Trash", "$RECYCLE.BIN", "__MACOSX", "@eaDir"):
        (root / "train" / name).mkdir()
        draw_photo(9).save(root / "train" / name / "a.jpg")
    (root / "extra").mkdir()
    (root / "valid/OWL").mkdir()
    notes = read(root).notes
    assert notes.names("images_too_deep") == ("train/CROW/2021/a.jpg",)
    assert notes.names("images_outside") == ("train/alone.jpg",)
    assert len(notes.names("folders_left_out")) == 5
    assert notes.names("empty_classes") == ("valid/OWL",)
    assert "train/CROW/notes.txt" in notes.names("other_files")
    assert any("notes.txt" in line for line in notes.lines())


@pytest.mark.parametrize("ending", [".jfif", ".JPE"])
def test_other_endings_of_jpeg_are_read(photos_in, read, ending):
    root = photos_in(THREE)
    expected = read(root).digest
    for photo in sorted((root / "test/CROW").iterdir()):
        photo.rename(photo.with_suffix(ending))
    assert read(root).digest == expected


def test_two_forms_of_unicode_are_one_class(photos_in, read):
    name = "Ñandú"
    composed, taken_apart = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    images = read(
        photos_in(
            {f"train/{composed}": 9, f"test/{taken_apart}": 4, "train/CROW": 9, "test/CROW": 4}
        )
    )
    assert images.classes == ("CROW", composed)
    assert counts(images)["test"] == 8
    assert images.notes.names("names_changed") == (f"test/{taken_apart}",)


def test_a_folder_name_that_is_not_utf8_works(photos_in, read, tmp_path):
    root = photos_in(THREE)
    for part in ("train", "valid", "test"):
        os.rename(f"{root}/{part}/WREN".encode(), f"{root}/{part}/".encode() + b"\xc1guia")
    images = read(root)
    assert images.classes == ("CROW", "ROBIN", "Águia")
    assert len(images.notes.names("names_changed")) == 3
    assert decoded_images(images, tmp_path / "cache", 16).shape == (37, 16, 16, 3)
    "\n".join([*images.ids, *images.classes, *images.notes.lines()]).encode()
    assert read(root).digest == images.digest


def test_linked_folders_are_read_and_noted(photos_in, read, tmp_path):
    root = photos_in(THREE)
    expected = read(root).digest
    (root / "train/WREN").rename(tmp_path / "elsewhere")
    (root / "train/WREN").symlink_to(tmp_path / "elsewhere")
    images = read(root)
    assert images.digest == expected
    assert images.notes.names("linked_folders") == ("train/WREN",)


def test_a_class_without_test_images_is_refused_or_allowed(photos_in, read):
    root = photos_in(
        {f"train/{name}": 9 for name in "ABC"} | {"test/A": 4, "test/ZEBRA": 4, "valid/A": 2}
    )
    with pytest.raises(UserError, match=r"2 of 3 classes have no test images: B, C.*ZEBRA"):
        read(root)
    images = read(root, allow_untested=True)
    assert images.notes.names("classes_untested") == ("B", "C")
    assert images.notes.names("classes_untrained") == ("ZEBRA",)
    assert images.notes.names("classes_unvalidated") == ("B", "C")
    assert read(root, test=2).notes.names("classes_untested") == ()


def test_a_class_of_copies_alone_is_refused(photos_in, read):
    root = photos_in({"train/A": 9, "train/B": 3, "test/A": 2, "test/B": 3, "valid/A": 2})
    for number in range(1, 4):
        shutil.copy(root / f"test/B/{number:03d}.jpg", root / f"train/B/{number:03d}.jpg")
    with pytest.raises(UserError, match="every training image of B is a copy"):
        read(root)


def test_auto_is_one_test_part_a_fifth_of_each_class(photos_in, read):
    images = read(photos_in({"A": 20, "B": 4}))
    by_class = Counter(zip(images.label.tolist(), images.part.tolist(), strict=True))
    assert by_class[0, "test"] == 4
    assert by_class[1, "test"] == 1


def test_auto_refuses_a_class_that_is_too_small(photos_in, read):
    with pytest.raises(UserError, match=r"B has 3 training images.*add images, choose fewer"):
        read(photos_in({"A": 20, "B": 3}))


def test_deep_greys_are_noted(photos_in, read):
    root = photos_in(THREE)
    ramp = np.tile(np.linspace(0, 4095, 40).astype(np.uint16), (40, 1))
    Image.fromarray(ramp).save(root / "train/CROW/deep.png")
    assert read(root).notes.names("scaled_greys") == ("train/CROW/deep.png",)


def test_many_names_are_kept_in_a_file(photos_in, read, tmp_path):
    root = photos_in(THREE)
    for k in range(9):
        (root / f"train/CROW/{k}.txt").write_text("x")
    images = read(root)
    assert images.notes.kept_in == tmp_path / "cache" / f"notes-{images.digest}.txt"
    assert "train/CROW/8.txt" in images.notes.kept_in.read_text()


def test_an_image_that_vanishes_after_the_check_is_named(photos_in, read, tmp_path):
    root = photos_in(THREE)
    images = read(root)
    (root / images.ids[3]).unlink()
    with pytest.raises(UserError, match=f"{images.ids[3]} cannot be read.*start again"):
        decoded_images(images, tmp_path / "cache", 16)


def test_a_folder_without_a_root_says_how_to_get_one():
    with pytest.raises(UserError, match=r"data=folder needs data\.root=FOLDER: ask Eva"):
        Folder(Folder.Options(hint="ask Eva"))


def set_apart(name: str) -> bool:
    """Whether the reader ignores a folder of this name or asks what it means."""
    return means_no_class(name) or name.casefold() in LITTER


NAMES = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=20
).filter(lambda name: plain_name(name) and not name.startswith(".") and not set_apart(name))


@settings(max_examples=25)
@given(st.sets(NAMES, min_size=2, max_size=4))
def test_any_names_of_classes_are_read(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("named")
    for k, name in enumerate(sorted(names)):
        (root / "train" / name).mkdir(parents=True, exist_ok=True)
        for number in range(5):
            photo = np.full((8, 8, 3), 20 * k + number, np.uint8)
            Image.fromarray(photo).save(root / "train" / name / f"{k}-{number}.png")
    if len({plain_name(name) for name in names}) < 2:
        return
    source = Folder(Folder.Options(root=str(root)))
    images = read_images(source, root / "cache", classes=9, seed=0)
    assert {plain_name(name) for name in images.classes} == {plain_name(name) for name in names}
    assert len(images.ids) == 5 * len(names)
    assert all(source.file(name).is_file() for name in images.ids)

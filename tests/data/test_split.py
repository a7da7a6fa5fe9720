"""The cut into labelled and unlabelled photos: properties for any data set, ratio and seed."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from birds.core.errors import UserError
from birds.data.images import Images
from birds.data.notes import Notes
from birds.data.sources.folder import Folder
from birds.data.split import Split, cut_of, draw_split, labelled_count

NAMES = [f"SPECIES {k}" for k in range(6)]
COUNTS = st.lists(st.integers(2, 60), min_size=1, max_size=6)
SPLITS = st.integers(1, 99)
SEEDS = st.integers(0, 2**31)


def possible(counts, *splits) -> bool:
    return all(0 < labelled_count(count, split) < count for count in counts for split in splits)


def cut_for(counts, split, seed, offset=0) -> tuple[Split, np.ndarray, np.ndarray]:
    """The cut of a data set with these numbers of photos per species; also its rows and labels."""
    label = np.repeat(np.arange(len(counts)), counts)
    rows = offset + 3 * np.arange(len(label))  # training rows have gaps, where other parts are
    return (
        draw_split(rows, label, split=split, seed=seed, classes=NAMES[: len(counts)]),
        rows,
        label,
    )


@given(COUNTS, SPLITS, SEEDS)
def test_every_photo_is_either_labelled_or_unlabelled(counts, split, seed):
    assume(possible(counts, split))
    cut, rows, _ = cut_for(counts, split, seed)
    assert np.array_equal(np.sort(np.concatenate([cut.labelled, cut.unlabelled])), rows)
    assert np.array_equal(cut.labelled, np.sort(cut.labelled))
    assert np.array_equal(cut.unlabelled, np.sort(cut.unlabelled))


@given(COUNTS, SPLITS, SEEDS)
def test_each_species_has_its_exact_share(counts, split, seed):
    assume(possible(counts, split))
    cut, rows, label = cut_for(counts, split, seed)
    labelled = np.bincount(label[np.isin(rows, cut.labelled)], minlength=len(counts))
    assert labelled.tolist() == [labelled_count(count, split) for count in counts]


@given(st.integers(0, 10_000), SPLITS)
def test_the_share_is_rounded_to_the_nearest_photo(photos, split):
    assert abs(labelled_count(photos, split) - photos * (100 - split) / 100) <= 0.5


@given(COUNTS, SPLITS, SPLITS, SEEDS)
def test_the_smaller_labelled_set_lies_inside_the_larger(counts, one, other, seed):
    assume(possible(counts, one, other))
    more, less = (cut_for(counts, split, seed)[0] for split in sorted((one, other)))
    assert set(less.labelled) <= set(more.labelled)
    assert set(more.unlabelled) <= set(less.unlabelled)


@given(COUNTS, SPLITS, SEEDS)
def test_the_same_question_has_the_same_answer(counts, split, seed):
    assume(possible(counts, split))
    one, again = cut_for(counts, split, seed)[0], cut_for(counts, split, seed)[0]
    assert np.array_equal(one.labelled, again.labelled)
    assert one.digest == again.digest


@given(SEEDS, SEEDS)
def test_another_seed_is_another_cut(one, other):
    assume(one != other)  # 60 photos in half: two equal cuts have a chance of 1 in 10^17
    assert cut_for([60], 50, one)[0].digest != cut_for([60], 50, other)[0].digest


@given(COUNTS, SPLITS, SEEDS)
def test_a_species_is_cut_the_same_whoever_else_is_there(counts, split, seed):
    assume(possible(counts, split))
    cut, _, _ = cut_for(counts, split, seed)
    own = 3 * np.arange(counts[-1]) + 3 * sum(counts[:-1])
    alone = draw_split(
        own, np.zeros(counts[-1], int), split=split, seed=seed, classes=[NAMES[len(counts) - 1]]
    )
    assert np.array_equal(alone.labelled, cut.labelled[np.isin(cut.labelled, own)])


def test_species_of_equal_size_are_cut_in_different_places():
    cut, rows, _ = cut_for([40, 40], 50, 0)
    places = np.isin(rows, cut.labelled).reshape(2, 40)
    assert not np.array_equal(places[0], places[1])


@given(COUNTS, SPLITS, SPLITS, SEEDS, SEEDS)
def test_the_digest_stands_for_the_cut(counts, split, other_split, seed, other_seed):
    assume(possible(counts, split, other_split))
    one, other = cut_for(counts, split, seed)[0], cut_for(counts, other_split, other_seed)[0]
    equal = np.array_equal(one.labelled, other.labelled) and np.array_equal(
        one.unlabelled, other.unlabelled
    )
    assert (one.digest == other.digest) == equal


def test_the_digest_is_of_the_rows():
    assert cut_for([20], 50, 1)[0].digest != cut_for([20], 50, 1, offset=1)[0].digest


@pytest.mark.parametrize(
    ("photos", "split", "missing", "cure"),
    [(4, 99, "no labelled image", "smaller split"), (4, 5, "no unlabelled image", "larger split")],
)
def test_a_species_left_without_photos_is_refused_by_name(photos, split, missing, cure):
    with pytest.raises(UserError) as refusal:
        cut_for([200, photos], split, 0)
    assert f"split={split} leaves SPECIES 1 with {missing} out of its {photos}" in str(
        refusal.value
    )
    assert cure in str(refusal.value)


def test_one_photo_cannot_be_cut():
    for split in (10, 50, 90):
        with pytest.raises(UserError, match="out of its 1"):
            cut_for([1], split, 0)


def images_of(counts, unlabelled=0) -> Images:
    label = np.append(np.repeat(np.arange(len(counts)), counts), np.full(unlabelled, -1))
    ids = tuple(f"{k}.jpg" for k in range(len(label)))
    part = np.full(len(label), "train")
    folder = Folder(Folder.Options(root="."))
    return Images(folder, tuple(NAMES[: len(counts)]), ids, label, part, ids, Notes())


@given(COUNTS, SEEDS, st.integers(0, 9))
def test_split_0_uses_every_label(counts, seed, unlabelled):
    cut = cut_of(images_of(counts, unlabelled), split=0, seed=seed)
    assert cut.labelled.tolist() == list(range(sum(counts)))
    assert cut.unlabelled.tolist() == list(range(sum(counts), sum(counts) + unlabelled))


@given(COUNTS, SPLITS, SEEDS)
def test_images_without_a_label_hide_no_label(counts, split, seed):
    assume(possible(counts, split))
    without = cut_of(images_of(counts), split=split, seed=seed)
    beside = cut_of(images_of(counts, 5), split=split, seed=seed)
    assert np.array_equal(without.labelled, beside.labelled)
    assert len(beside.unlabelled) == len(without.unlabelled) + 5


@given(COUNTS, SPLITS, SEEDS)
def test_labels_per_class_are_the_beginning_of_the_same_order(counts, split, seed):
    assume(possible(counts, split))
    images = images_of(counts)
    number = min(labelled_count(count, split) for count in counts)
    few = cut_of(images, split=split, labels_per_class=number, seed=seed)
    assert set(few.labelled) <= set(cut_of(images, split=split, seed=seed).labelled)
    assert np.bincount(images.label[few.labelled]).tolist() == [number] * len(counts)


def test_labels_per_class_beyond_a_class_are_refused():
    with pytest.raises(UserError, match="SPECIES 1 has 5 training images; choose 5 or fewer"):
        cut_of(images_of([9, 5]), split=70, labels_per_class=6, seed=0)
    assert len(cut_of(images_of([9, 5]), split=70, labels_per_class=5, seed=0).labelled) == 10
    with pytest.raises(UserError, match="choose 1 or more"):
        cut_of(images_of([9, 5]), split=70, labels_per_class=0, seed=0)


@pytest.mark.parametrize("split", [-1, 100])
def test_a_split_beyond_its_range_is_refused(split):
    with pytest.raises(UserError, match="choose 0"):
        cut_of(images_of([9, 5]), split=split, seed=0)

"""Visual words: the descriptors of an image, the nearest words, and their counts."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed, needed, spec
from numpy.typing import NDArray

from birds.core.parts import chosen_part
from birds.core.spec import ImageChoices, UserError
from birds.encoders import create_encoder
from birds.encoders._descriptors import KINDS, grid, opencv
from birds.encoders._own_size import grey
from birds.encoders._words import histogram, nearest_words, normalised, shares

pytest.importorskip("cv2.xfeatures2d")


def words(*overrides: str) -> Any:
    asked = composed("variant=Words", *overrides)["encoder"]
    return create_encoder(chosen_part("encoder", asked), ImageChoices(size=64))


def textured(height: int = 96, width: int = 128, seed: int = 0) -> NDArray[np.uint8]:
    """A grey image with corners and blobs: bright rectangles on a dark ground, blurred a little."""
    random = np.random.default_rng(seed)
    image = np.full((height, width), 40, np.uint8)
    for _ in range(25):
        y, x = random.integers(0, height - 12), random.integers(0, width - 12)
        image[y : y + random.integers(5, 25), x : x + random.integers(5, 25)] = random.integers(255)
    blurred: NDArray[np.uint8] = opencv().GaussianBlur(image, (0, 0), 0.7)
    return blurred


@pytest.mark.parametrize("descriptor", sorted(KINDS))
def test_every_descriptor_describes_an_image_and_not_a_single_colour(descriptor: str) -> None:
    encoder = words(f"encoder.descriptor={descriptor}", "encoder.words=20")
    seen = encoder.describe(textured())
    kind = KINDS[descriptor]
    assert len(seen.values) > 5
    assert seen.values.shape[1] == kind.length
    assert seen.values.dtype == kind.stored
    assert (seen.place >= 0).all()
    assert (seen.place <= 1).all()
    plain = encoder.describe(np.full((96, 128), 128, np.uint8))
    if descriptor == "dense_sift":
        assert len(plain.values) == len(seen.values)
        assert not plain.values.any()
    else:
        assert len(plain.values) == 0
    encoded = encoder.encode([seen, plain])
    assert np.isfinite(encoded).all()
    assert encoded[0].sum() == pytest.approx(1, abs=1e-5)
    assert encoded[1].any() == (descriptor == "dense_sift")


@pytest.mark.parametrize("descriptor", sorted(KINDS))
@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (5, 7), (16, 16), (8, 300)])
def test_images_of_any_shape_are_described(descriptor: str, shape: tuple[int, int]) -> None:
    encoder = words(f"encoder.descriptor={descriptor}", "encoder.words=20")
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert encoder.encode([encoder.describe(image)]).shape == (1, 20)


def test_a_dense_grid_is_of_16_pixels_every_8() -> None:
    points = grid(304, 200, 16, 8)
    x = sorted({point.pt[0] for point in points})
    y = sorted({point.pt[1] for point in points})
    assert len(points) == len(x) * len(y) == 37 * 24
    assert np.diff(x).tolist() == [8] * 36
    assert x[0] - 7.5 >= 0
    assert x[-1] + 7.5 <= 303
    assert points[0].size * 6 == pytest.approx(16), "4 cells of 4 pixels"
    assert {point.angle for point in points} == {0}


def test_a_dense_descriptor_sees_its_patch_and_little_beyond() -> None:
    encoder = words("encoder.descriptor=dense_sift")
    image = textured(64, 64)
    far = image.copy()
    far[:, 40:] = 255 - far[:, 40:]
    one, two = encoder.describe(image).values, encoder.describe(far).values
    of_left = encoder.describe(image).place[:, 0] < 20 / 64
    assert np.array_equal(one[of_left], two[of_left])
    assert not np.array_equal(one, two)


def test_larger_images_are_made_smaller_only_where_asked() -> None:
    image = textured(200, 300)
    whole = words("encoder.descriptor=dense_sift").describe(image)
    small = words("encoder.descriptor=dense_sift", "encoder.long_side=150").describe(image)
    assert len(whole.values) > 3 * len(small.values)


def test_keypoints_are_bounded_by_the_strongest() -> None:
    every = words("encoder.keypoints=0").describe(textured())
    few = words("encoder.keypoints=10").describe(textured())
    assert len(few.values) <= 12 < len(every.values), "a keypoint may have two directions"
    assert {tuple(place) for place in few.place} <= {tuple(place) for place in every.place}


def test_brute_force_finds_the_nearest_word_and_flann_mostly_the_same() -> None:
    random = np.random.default_rng(0)
    vocabulary = (random.random((60, 128)) * 200).astype(np.float32)
    true = random.integers(0, 60, 500)
    values = np.abs(vocabulary[true] + random.normal(0, 10, (500, 128))).astype(np.uint8)
    exact = nearest_words(words().options, KINDS["sift"], vocabulary)(values)
    assert np.array_equal(exact[0][:, 0], true)
    flann = words("encoder.matcher=flann").options
    found = [nearest_words(flann, KINDS["sift"], vocabulary)(values) for _ in range(2)]
    assert np.array_equal(found[0][0], found[1][0]), "FLANN's trees are drawn anew"
    assert (found[0][0][:, 0] == true).mean() > 0.9
    soft = words("encoder.assignment=soft", "encoder.matcher=flann").options
    near, distance = nearest_words(soft, KINDS["sift"], vocabulary)(values)
    assert near.shape == distance.shape == (500, 5)


def test_bits_are_compared_by_how_many_are_unequal() -> None:
    options = words("encoder.descriptor=orb").options
    vocabulary = np.array([[0] * 32, [255] * 32], np.float32)
    asked = np.zeros((2, 32), np.uint8)
    asked[1, 5:] = 255
    word, distance = nearest_words(options, KINDS["orb"], vocabulary)(asked)
    assert word[:, 0].tolist() == [0, 1]
    assert distance[:, 0].tolist() == [0, 40]


def test_a_pyramid_counts_cells_and_weighs_finer_levels_more() -> None:
    options = words("encoder.words=2", "encoder.levels=3", "encoder.normalisation=l1").options
    place = np.array([[0.1, 0.1], [0.9, 0.1], [1.0, 1.0]], np.float32)
    word = np.array([[0], [1], [1]])
    counted = histogram(place, word, np.ones((3, 1), np.float32), 1.0, options)
    assert counted.shape == (2 * 21,)
    whole, halves, quarters = counted[:2], counted[2:10], counted[10:]
    assert whole.sum() == pytest.approx(0.25)
    assert halves.sum() == pytest.approx(0.25)
    assert quarters.sum() == pytest.approx(0.5)
    assert whole / whole.sum() == pytest.approx([1 / 3, 2 / 3])
    assert np.flatnonzero(halves).tolist() == [0, 3, 7], "left above, right above, right below"


def test_soft_shares_fall_with_the_distance_and_sum_to_one() -> None:
    given = shares(np.array([[1.0, 2.0, 400.0]], np.float32), 1.0)
    assert given.sum() == pytest.approx(1)
    assert given[0, 0] / given[0, 1] == pytest.approx(np.exp(1.5), rel=1e-4)
    assert given[0, 2] == pytest.approx(0, abs=1e-6)
    assert shares(np.array([[7.0]], np.float32), 1.0).tolist() == [[1.0]]


@pytest.mark.parametrize(("how", "expected"), [("l1", [0.2, 0.8]), ("l2", [0.242536, 0.970143])])
def test_histograms_are_normalised(how: str, expected: list[float]) -> None:
    assert normalised(np.array([1.0, 4.0]), how) == pytest.approx(expected, rel=1e-5)
    assert normalised(np.array([1.0, 4.0]), "power") == pytest.approx([5**-0.5, 2 * 5**-0.5])
    assert not normalised(np.zeros(3), how).any()


def test_a_tensor_is_read_as_the_image_that_it_was() -> None:
    encoder = words("encoder.words=30")
    image = np.repeat(textured()[..., None], 3, axis=2)
    fractions = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    expected = encoder.encode([encoder.describe(grey(image))])
    assert np.array_equal(encoder.features(fractions).numpy(), expected)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("encoder.descriptor=surf", "SURF is patented"),
        ("encoder.descriptor=orb encoder.matcher=flann", "search floats, and orb gives bits"),
        ("encoder.descriptor=fast_freak encoder.assignment=soft", "choose encoder.assignment=hard"),
        ("head=linear", "choose train=head with a head that is fitted"),
        ("train=all", "cannot train an encoder"),
        ("encoder=unet_xs", "choose encoder=words, or another pretraining"),
        ("pretraining=simclr", "choose pretraining=vocabulary"),
        ("pretraining=autoencode", "choose pretraining=vocabulary"),
        ("encoder.words=1", "encoder.words=1"),
        ("+pretraining@pretraining.after=simclr", "choose pretraining=vocabulary"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_cure(wrong: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        spec("variant=Words", *wrong.split())


def test_heads_matchers_and_pyramids_share_a_vocabulary() -> None:
    base = needed("variant=Words").key
    for other in (
        "head=forest",
        "head.kernel=chi2",
        "encoder.matcher=flann",
        "encoder.assignment=soft",
        "encoder.levels=3",
        "encoder.normalisation=power",
    ):
        assert needed("variant=Words", other).key == base
        assert spec("variant=Words", other).key != spec("variant=Words").key
    for other in ("encoder.words=100", "encoder.descriptor=kaze", "encoder.long_side=100"):
        assert needed("variant=Words", other).key != base


@pytest.mark.parametrize("missing", ["everything", "extra modules"])
def test_without_opencv_the_extra_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name != "cv2":
            return whole(name, *rest)
        if missing == "everything":
            raise ImportError("No module named 'cv2'")
        return object()

    opencv.cache_clear()
    monkeypatch.setattr(importlib, "import_module", without)
    try:
        with pytest.raises(UserError, match=r"needs the package .*\[words\]"):
            spec("variant=Words")
    finally:
        opencv.cache_clear()

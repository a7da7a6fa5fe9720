"""Turns descriptors into a histogram of visual words: finds the nearest words and counts them.

Letters: K descriptors of an image, W words, D numbers of a descriptor, M nearest words, F features.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from birds.encoders._descriptors import Kind, opencv

TREES, CHECKS = 4, 32  # OpenCV's defaults for FLANN's randomised k-d trees
Found = tuple[Int[np.ndarray, "K M"], Float[np.ndarray, "K M"]]  # words, their distances


def nearest_words(
    options: Any, kind: Kind, vocabulary: Float[np.ndarray, "W D"]
) -> Callable[[NDArray[Any]], Found]:
    """A function from descriptors (K, D) to their nearest words and distances, nearest first.

    It finds one word for hard assignment and `options.nearest` for soft assignment, or all words if
    there are fewer.
    """
    count = min(options.nearest, len(vocabulary)) if options.assignment == "soft" else 1
    if options.matcher == "flann":
        return _by_flann(vocabulary, count)
    return _by_brute_force(vocabulary, count, kind)


def _by_brute_force(
    vocabulary: NDArray[np.float32], count: int, kind: Kind
) -> Callable[[NDArray[Any]], Found]:
    cv2 = opencv()
    as_type: Any = np.uint8 if kind.binary else np.float32
    words = np.ascontiguousarray(vocabulary.astype(as_type))
    norm = cv2.NORM_HAMMING if kind.binary else cv2.NORM_L2
    result = cv2.CV_32S if kind.binary else cv2.CV_32F

    def find(values: NDArray[Any]) -> Found:
        asked = np.ascontiguousarray(values.astype(as_type, copy=False))
        distance, word = cv2.batchDistance(asked, words, result, normType=norm, K=count)
        return word.astype(np.int64), distance.astype(np.float32)

    return find


def _by_flann(vocabulary: NDArray[np.float32], count: int) -> Callable[[NDArray[Any]], Found]:
    cv2 = opencv()
    words = np.ascontiguousarray(vocabulary, np.float32)
    cv2.setRNGSeed(0)  # its trees are built at random
    index = cv2.flann_Index(words, {"algorithm": 1, "trees": TREES})

    def find(values: NDArray[Any], keep: Any = words) -> Found:
        asked = np.ascontiguousarray(values, np.float32)
        word, squared = index.knnSearch(asked, count, params={"checks": CHECKS})
        return word.astype(np.int64), np.sqrt(np.maximum(squared, 0)).astype(np.float32)

    return find


def histogram(
    place: Float[np.ndarray, "K 2"],
    word: Int[np.ndarray, "K M"],
    distance: Float[np.ndarray, "K M"],
    scale: float,
    options: Any,
) -> NDArray[np.float32]:
    """The weight of each word in each cell of the pyramid, coarsest level first, normalised.

    A match at one level counts half as much as at the next finer level; the two coarsest levels
    count equally (Lazebnik et al. 2006, equation 3).
    """
    weight = shares(distance, scale)
    parts = []
    for level in range(options.levels):
        side = 2**level
        column = np.minimum((place * side).astype(np.int64), side - 1).clip(0)
        cell = column[:, 1] * side + column[:, 0]
        position = cell[:, None] * options.words + word
        counted = np.bincount(position.ravel(), weight.ravel(), side * side * options.words)
        finest = options.levels - 1
        parts.append(counted / 2.0 ** (finest if level == 0 else finest - level + 1))
    return normalised(np.concatenate(parts), options.normalisation)


def shares(distance: Float[np.ndarray, "K M"], scale: float) -> Float[np.ndarray, "K M"]:
    """How a descriptor is shared among its nearest words; its shares sum to 1."""
    if distance.shape[1] == 1:
        return np.ones_like(distance)
    squared = (distance / max(scale, 1e-12)) ** 2
    weight = np.exp(-(squared - squared[:, :1]) / 2)
    found: NDArray[np.float32] = weight / weight.sum(axis=1, keepdims=True)
    return found


def normalised(counted: NDArray[np.float64], how: str) -> NDArray[np.float32]:
    """The histogram with sum 1 (l1), length 1 (l2), or as square roots with length 1 (power)."""
    values = np.sqrt(counted) if how == "power" else counted
    size = values.sum() if how == "l1" else np.linalg.norm(values)
    found: NDArray[np.float32] = (values / max(float(size), 1e-12)).astype(np.float32)
    return found

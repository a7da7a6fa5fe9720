"""What a classifier guessed for each image: its first and second guess, and how sure it was.

Letters: N images, S classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EACH = 12  # images that hesitate, that hesitate and are wrong, and that are sure and wrong


class Guesses(NamedTuple):
    """Of each image (N,): its two likeliest classes and their probabilities, and the place of its
    true class among all guesses, 1 for a right one.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    confidence: NDArray[np.float64]
    runner_up: NDArray[np.float64]
    place: NDArray[np.int64]

    @property
    def margin(self) -> NDArray[np.float64]:
        """How far the first guess is ahead of the second, 0 to 1."""
        return self.confidence - self.runner_up


def guesses(logits: NDArray[np.floating], label: NDArray[np.int64]) -> Guesses:
    """The guesses that logits (N, S) of two or more classes stand for, beside labels (N,)."""
    shifted = logits.astype(float) - logits.max(axis=1, keepdims=True)
    odds = np.exp(shifted)
    probability = odds / odds.sum(axis=1, keepdims=True)
    ranked = np.argsort(-probability, axis=1, kind="stable")
    sure = np.take_along_axis(probability, ranked[:, :2], axis=1)
    place = (ranked == label[:, None]).argmax(axis=1) + 1
    return Guesses(ranked[:, 0], ranked[:, 1], sure[:, 0], sure[:, 1], place)


def telling(
    logits: NDArray[np.floating], label: NDArray[np.int64], each: int = EACH
) -> NDArray[np.int64]:
    """The positions of the images that say most of a classifier, in their order.

    These are the ones on which it hesitated most, among all and among its mistakes, and those on
    which it was wrong and most sure.
    """
    found = guesses(logits, label)
    wrong = np.flatnonzero(found.place > 1)
    by_margin = np.argsort(found.margin, kind="stable")
    hesitated = wrong[np.argsort(found.margin[wrong], kind="stable")]
    sure = wrong[np.argsort(-found.confidence[wrong], kind="stable")]
    return np.unique(np.concatenate([by_margin[:each], hesitated[:each], sure[:each]]))

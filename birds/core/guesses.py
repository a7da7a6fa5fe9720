"""A classifier's first and second guess for each image, with their probabilities.

Letters: N images, S classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EACH = 12  # images of each kind: small margin, small margin and wrong, confident and wrong
SURE = 0.8  # a probability above this is called confident


class Guesses(NamedTuple):
    """For each image (N,): the two most probable classes, their probabilities, and the rank of the
    true class among all classes (1 when the first guess is correct).
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    confidence: NDArray[np.float64]
    runner_up: NDArray[np.float64]
    place: NDArray[np.int64]

    @property
    def margin(self) -> NDArray[np.float64]:
        """The probability of the first guess minus that of the second, 0 to 1."""
        return self.confidence - self.runner_up


def guesses(logits: NDArray[np.floating], label: NDArray[np.int64]) -> Guesses:
    """The guesses for logits (N, S) with S >= 2, compared with the labels (N,)."""
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
    """The positions of the most informative images, in ascending order.

    These are the images with the smallest margin, the mistakes with the smallest margin, and the
    mistakes with the highest confidence; `each` of every kind.
    """
    found = guesses(logits, label)
    wrong = np.flatnonzero(found.place > 1)
    by_margin = np.argsort(found.margin, kind="stable")
    hesitated = wrong[np.argsort(found.margin[wrong], kind="stable")]
    sure = wrong[np.argsort(-found.confidence[wrong], kind="stable")]
    return np.unique(np.concatenate([by_margin[:each], hesitated[:each], sure[:each]]))

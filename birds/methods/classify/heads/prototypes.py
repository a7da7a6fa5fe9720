"""Prototypes: the class whose mean feature vector is nearest by the cosine.

Snell et al. (2017, arXiv:1703.05175), on frozen features. With unlabelled images the means are
refined as k-means does (Ren et al. 2018, arXiv:1803.00676).
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birds.core.spec import Choices
from birds.methods.classify.heads import LEAST, FrozenHead


class Prototypes(FrozenHead):
    """One mean feature vector for each class."""

    learns_from_unlabelled = True
    counts_classes_equally = True

    class Options(Choices):
        """rounds: how often unlabelled images refine the means; temperature: what cosines are
        divided by.
        """

        rounds: Annotated[int, Field(ge=0, le=100)] = 5
        temperature: Annotated[float, Field(gt=0)] = 0.1

    def fit(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        seed: int,
        unlabelled: NDArray[np.float32] | None = None,
    ) -> None:
        """Means of labelled features (N, F), refined by unlabelled ones (M, F)."""
        self.centre = features.mean(0)
        shown = self._directions(features)
        weight = np.eye(self.classes)[label]
        self.means = self._means(shown, weight)
        if unlabelled is None or not len(unlabelled):
            return
        others = self._directions(unlabelled)
        for _ in range(self.options.rounds):
            share = np.exp(self._log_shares(others))
            both = np.concatenate([shown, others])
            self.means = self._means(both, np.concatenate([weight, share]))

    def _directions(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        shifted = (features - self.centre).astype(np.float64)
        length = np.linalg.norm(shifted, axis=1, keepdims=True)
        directions: NDArray[np.float64] = shifted / np.maximum(length, LEAST)
        return directions

    def _means(
        self, directions: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        sums = weight.T @ directions
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        means: NDArray[np.float64] = sums / np.maximum(length, LEAST)
        return means

    def _log_shares(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import log_softmax

        shares: NDArray[np.float64] = log_softmax(
            directions @ self.means.T / self.options.temperature, axis=1
        )
        return shares

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logarithms of each class's share (N, classes), which is a softmax of cosines."""
        return self._log_shares(self._directions(features)).astype(np.float32)

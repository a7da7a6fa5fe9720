"""Class means: the class whose mean feature vector is nearest by the cosine.

The features are centred and scaled to length 1 first, as in Wang et al. (2019, arXiv:1911.04623).
Nothing is chosen on data, so two or three labels per class are enough.
"""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birds.core.spec import Choices
from birds.methods.classify.heads import LEAST, UNSEEN, FrozenHead


class ClassMeans(FrozenHead):
    """One mean feature vector for each class."""

    counts_classes_equally = True
    has_network = True

    class Options(Choices):
        """temperature: what cosines are divided by before the softmax."""

        temperature: Annotated[float, Field(gt=0)] = 0.1

    def fit(self, features: NDArray[np.float32], label: NDArray[np.int64], seed: int) -> None:
        """The means of labelled features (N, F)."""
        self.centre = features.mean(0)
        self.bias = np.where(np.bincount(label, minlength=self.classes), 0.0, UNSEEN)
        self.means = self.directions_of_means(
            self.directions(features), np.eye(self.classes)[label]
        )

    def directions(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Centred features (N, F) of length 1."""
        shifted = (features - self.centre).astype(np.float64)
        length = np.linalg.norm(shifted, axis=1, keepdims=True)
        directions: NDArray[np.float64] = shifted / np.maximum(length, LEAST)
        return directions

    @staticmethod
    def directions_of_means(
        directions: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The class means (classes, F) of length 1, for weights (N, classes)."""
        sums = weight.T @ directions
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        means: NDArray[np.float64] = sums / np.maximum(length, LEAST)
        return means

    def log_shares(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """The logarithms of each class's share (N, classes), which is a softmax of cosines."""
        from scipy.special import log_softmax

        shares: NDArray[np.float64] = log_softmax(
            directions @ self.means.T / self.options.temperature + self.bias, axis=1
        )
        return shares

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logarithms of each class's share (N, classes) for features (N, F)."""
        return self.log_shares(self.directions(features)).astype(np.float32)

    def network(self) -> Any:
        """The same logits as a network in fp32, from features (B, F)."""
        import torch

        from birds.methods.classify.heads._cosines import Cosines

        cosines = Cosines(self.means.shape[1], self.classes)
        values = {
            "centre": self.centre,
            "means": self.means,
            "bias": self.bias,
            "temperature": self.options.temperature,
        }
        cosines.load_state_dict({name: torch.as_tensor(value) for name, value in values.items()})
        return cosines

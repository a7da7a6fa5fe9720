"""Label spreading: labels spread along a graph of nearest neighbours in feature space.

Zhou et al. (2003, "Learning with local and global consistency"), by scikit-learn. New images get
the label distribution of their nearest neighbours in that graph.
"""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birds.core.spec import Choices
from birds.methods.classify.heads import LEAST, FrozenHead, log_probabilities


class LabelSpreading(FrozenHead):
    """Label spreading over labelled and unlabelled images."""

    learns_from_unlabelled = True

    class Options(Choices):
        """neighbours: of each image in the graph; alpha: how far a given label may change, 0 to 1;
        iterations: the most steps of spreading.
        """

        neighbours: Annotated[int, Field(ge=1)] = 10
        alpha: Annotated[float, Field(gt=0, lt=1)] = 0.2
        iterations: Annotated[int, Field(ge=1)] = 100

    def fit(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        seed: int,
        unlabelled: NDArray[np.float32] | None = None,
    ) -> None:
        """Spread the labels of features (N, F) over these and over unlabelled features (M, F)."""
        from sklearn.semi_supervised import LabelSpreading as Spreading

        every, labels = features, label
        if unlabelled is not None and len(unlabelled):
            every = np.concatenate([features, unlabelled])
            labels = np.concatenate([label, np.full(len(unlabelled), -1)])
        self.model = Spreading(
            kernel="knn",
            n_neighbors=min(self.options.neighbours, len(every)),
            alpha=self.options.alpha,
            max_iter=self.options.iterations,
        )
        self.model.fit(self._on_the_sphere(every), labels)

    def _on_the_sphere(self, features: NDArray[Any]) -> NDArray[Any]:
        """The features scaled to length 1, so that the nearest neighbours are those of largest
        cosine.
        """
        length = np.linalg.norm(features, axis=1, keepdims=True)
        scaled: NDArray[Any] = features / np.maximum(length, LEAST)
        return scaled

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logarithms of the label distributions (N, classes)."""
        return log_probabilities(self.model, self._on_the_sphere(features), self.classes)

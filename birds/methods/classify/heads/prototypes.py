"""Prototypes: class means that unlabelled images refine.

Snell et al. (2017, arXiv:1703.05175), on frozen features. The means are refined as k-means does
(Ren et al. 2018, arXiv:1803.00676).
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birds.methods.classify.heads.class_means import ClassMeans


class Prototypes(ClassMeans):
    """One mean feature vector for each class, refined by unlabelled images."""

    learns_from_unlabelled = True

    class Options(ClassMeans.Options):
        """rounds: how often unlabelled images refine the means; temperature: what cosines are
        divided by.
        """

        rounds: Annotated[int, Field(ge=0, le=100)] = 5

    def fit(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        seed: int,
        unlabelled: NDArray[np.float32] | None = None,
    ) -> None:
        """Means of labelled features (N, F), refined by unlabelled ones (M, F)."""
        super().fit(features, label, seed)
        if unlabelled is None or not len(unlabelled):
            return
        shown, others = self.directions(features), self.directions(unlabelled)
        weight = np.eye(self.classes)[label]
        for _ in range(self.options.rounds):
            share = np.exp(self.log_shares(others))
            both = np.concatenate([shown, others])
            self.means = self.directions_of_means(both, np.concatenate([weight, share]))

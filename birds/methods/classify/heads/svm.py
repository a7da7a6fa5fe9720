"""A support vector machine on frozen features, by scikit-learn.

The kernels `intersection` (of histograms; Barla et al. 2003) and `chi2` are for features that are
not negative, such as histograms of visual words; features are then not standardised.
"""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birds.core.spec import Choices
from birds.methods.classify.heads._strength import RegularisedHead, Strength

OF_HISTOGRAMS = ("intersection", "chi2")


class SVM(RegularisedHead):
    """A support vector machine; each class against the rest."""

    takes_weights = True

    class Options(Choices):
        """kernel: of the machine; C: the inverse of the penalty's strength, or auto to choose it by
        cross-validation on the labelled images; degree: of the poly kernel; iterations: the most
        iterations of the solver, -1 for no limit.
        """

        kernel: Literal["linear", "rbf", "poly", "intersection", "chi2"] = "linear"
        C: Strength = 1.0
        degree: Annotated[int, Field(ge=1, le=10)] = 3
        iterations: Annotated[int, Field(ge=-1)] = -1

    def steps(self, seed: int) -> list[Any]:
        """The estimator; features are standardised first, unless the kernel is for histograms."""
        if self.options.kernel in OF_HISTOGRAMS:
            return [self.estimator(seed)]
        return super().steps(seed)

    def estimator(self, seed: int) -> Any:
        """scikit-learn's SVC."""
        from sklearn.svm import SVC

        kernels = {"intersection": intersection, "chi2": chi2}
        kernel: Any = kernels.get(self.options.kernel, self.options.kernel)
        return SVC(
            kernel=kernel,
            C=self.strength,
            degree=self.options.degree,
            max_iter=self.options.iterations,
            decision_function_shape="ovr",
            random_state=seed,
        )

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Signed distances (N, classes) to the classes' boundaries; classes without labels rank
        last.
        """
        found = self.model.decision_function(features)
        if found.ndim == 1:
            found = np.stack([-found, found], axis=1)
        scores = np.full((len(features), self.classes), found.min() - 1.0)
        scores[:, self.model.classes_] = found
        return scores.astype(np.float32)


def intersection(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """The histogram intersection of every row of `a` (N, F) with every row of `b` (M, F)."""
    rows = [np.minimum(row, b).sum(axis=1) for row in a]
    return np.stack(rows)


def chi2(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """The exponential chi-squared kernel of rows (N, F) and (M, F) without negative values."""
    from sklearn.metrics.pairwise import chi2_kernel

    kernel: NDArray[Any] = chi2_kernel(a, b)
    return kernel

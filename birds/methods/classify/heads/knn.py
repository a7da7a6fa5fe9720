"""The nearest labelled images in feature space vote, by scikit-learn."""

from typing import Annotated, Any, Literal

from pydantic import Field

from birds.core.spec import Choices
from birds.methods.classify.heads import FittedHead


class KNN(FittedHead):
    """k nearest neighbours."""

    class Options(Choices):
        """neighbours: how many images vote, or all if there are fewer; metric: cosine
        or euclidean.
        """

        neighbours: Annotated[int, Field(ge=1)] = 5
        metric: Literal["cosine", "euclidean"] = "cosine"

    def fit(self, features: Any, label: Any, seed: int, *, weight: Any = None) -> None:
        """Store features (N, F) and labels (N,); use at most N neighbours."""
        self.votes = min(self.options.neighbours, len(features))
        if self.votes < self.options.neighbours:
            self.note = (
                f"head.neighbours={self.options.neighbours}: there are {len(features)} labelled "
                "images, so all of them vote"
            )
        super().fit(features, label, seed, weight=weight)

    def estimator(self, seed: int) -> Any:
        """scikit-learn's KNeighborsClassifier; nearer neighbours have more weight."""
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(
            self.votes, metric=self.options.metric, weights="distance", algorithm="brute"
        )

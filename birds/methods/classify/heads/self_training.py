"""Self-training on frozen features: unlabelled images get the label that the head is surest of.

After Scudder (1965) and Yarowsky (1995, 10.3115/981658.981684). In every round the head that was
fitted last labels the unlabelled images; the surest are taken in and a new head is fitted on them
and the labelled ones. `balance=labelled` takes the surest of each class in the proportions of the
labelled images, which assumes that the unlabelled ones have them, too; `balance=none` takes the
surest of all.
"""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birds.core.spec import Choices
from birds.methods.classify.heads import FittedHead


class SelfTraining(FittedHead):
    """Logistic regression on labelled images and on the surest of the unlabelled ones."""

    learns_from_unlabelled = True

    class Options(Choices):
        """rounds: how often the unlabelled images are labelled anew; share: of them that the last
        round takes in, the first ones proportionally fewer; balance: see above; weight: of an
        unlabelled image beside a labelled one; C, iterations: of the logistic regression.
        """

        rounds: Annotated[int, Field(ge=1, le=50)] = 4
        share: Annotated[float, Field(gt=0, le=1)] = 0.8
        balance: Literal["labelled", "none"] = "labelled"
        weight: Annotated[float, Field(gt=0, le=1)] = 0.5
        C: Annotated[float, Field(gt=0)] = 1.0
        iterations: Annotated[int, Field(ge=1)] = 2000

    def estimator(self, seed: int) -> Any:
        """scikit-learn's LogisticRegression."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=self.options.C, max_iter=self.options.iterations)

    def fit(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        seed: int,
        unlabelled: NDArray[np.float32] | None = None,
    ) -> None:
        """Fit labelled features (N, F), then in rounds with unlabelled ones (M, F)."""
        super().fit(features, label, seed)
        if unlabelled is None or not len(unlabelled):
            return
        of_classes = np.bincount(label, minlength=self.classes) / len(label)
        for number in range(1, self.options.rounds + 1):
            scores = self.scores(unlabelled)
            share = self.options.share * number / self.options.rounds
            taken = self._surest(scores, share, of_classes)
            both = np.concatenate([features, unlabelled[taken]])
            labels = np.concatenate([label, scores[taken].argmax(1)])
            weights = np.full(len(labels), self.options.weight)
            weights[: len(label)] = 1.0
            self._fit_weighted(both, labels, weights, seed)

    def _fit_weighted(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        weights: NDArray[np.float64],
        seed: int,
    ) -> None:
        from sklearn.pipeline import make_pipeline

        self.model = make_pipeline(*self.steps(seed))
        last = self.model.steps[-1][0]
        self.model.fit(features, label, **{f"{last}__sample_weight": weights})

    def _surest(
        self, scores: NDArray[np.float32], share: float, of_classes: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """The rows of the unlabelled images that are taken in, ascending."""
        guess, sureness = scores.argmax(1), scores.max(1)
        wanted = share * len(scores)
        if self.options.balance == "none":
            order = np.argsort(-sureness, kind="stable")
            return np.sort(order[: max(1, round(wanted))])
        taken = []
        for k, part in enumerate(of_classes):
            rows = np.flatnonzero(guess == k)
            order = rows[np.argsort(-sureness[rows], kind="stable")]
            taken.append(order[: round(wanted * part)])
        return np.sort(np.concatenate(taken))

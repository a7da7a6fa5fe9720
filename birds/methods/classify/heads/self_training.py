"""Self-training on frozen features: the head's most confident predictions become labels.

After Scudder (1965) and Yarowsky (1995, 10.3115/981658.981684). In every round the latest head
labels the unlabelled images. A new head is then fitted on the labelled images and on the most
confident of these.

`balance` decides how many images of each class are taken:

- `predicted`: the same share of the images of each predicted class (Zou et al. 2018,
  arXiv:1810.07911). It assumes nothing about the classes of the unlabelled images.
- `labelled`: in the proportions of the labelled images. It assumes that the unlabelled ones have
  them, too.
- `estimated`: in proportions that are estimated from the head's probabilities by expectation
  maximisation (Saerens et al. 2002, 10.1162/089976602753284446).
- `none`: the most confident images, whatever their classes.

If the unlabelled images lack some of the classes, every choice takes wrong labels and can end below
the first head. So every round, including the first head, is evaluated on the validation images, and
the last of the best rounds is kept (`guard=validation`).
"""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birds.core.spec import Choices
from birds.methods.classify.heads._strength import RegularisedHead, Strength

ROUNDS_OF_ESTIMATION = 50
Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]


class SelfTraining(RegularisedHead):
    """Logistic regression on the labelled and the most confidently predicted unlabelled images."""

    learns_from_unlabelled = True
    judges_by_validation = True
    has_network = True
    takes_weights = True

    class Options(Choices):
        """rounds: how often the unlabelled images are labelled anew; share: of them that the last
        round uses, earlier rounds use proportionally fewer; balance: see above; confidence: the
        lowest probability of an image that is used; weight: of an unlabelled image, relative to a
        labelled one; weighting: hard, or soft to multiply the weight by the probability; guard:
        validation to keep the round that classifies validation images best, none to keep the last;
        C, iterations: of the logistic regression, as for `head=logistic`.
        """

        rounds: Annotated[int, Field(ge=1, le=50)] = 4
        share: Annotated[float, Field(gt=0, le=1)] = 0.8
        balance: Literal["predicted", "labelled", "estimated", "none"] = "labelled"
        confidence: Annotated[float, Field(ge=0, lt=1)] = 0.0
        weight: Annotated[float, Field(gt=0, le=1)] = 0.5
        weighting: Literal["hard", "soft"] = "hard"
        guard: Literal["validation", "none"] = "validation"
        C: Strength = 1.0
        iterations: Annotated[int, Field(ge=1)] = 2000

    def estimator(self, seed: int) -> Any:
        """scikit-learn's LogisticRegression."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=self.strength, max_iter=self.options.iterations)

    def fit(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        seed: int,
        unlabelled: NDArray[np.float32] | None = None,
        valid: Labelled | None = None,
        *,
        weight: NDArray[np.float64] | None = None,
    ) -> None:
        """Fit labelled features (N, F), then fit again in rounds with unlabelled features (M, F).

        `valid` holds the features (V, F) and labels (V,) that the rounds are compared on. With
        `weight` (N,), an unlabelled image has the weight of its predicted class.
        """
        super().fit(features, label, seed, weight=weight)
        self.of_class = np.ones(self.classes)
        if weight is not None:
            self.of_class[label] = weight
        if unlabelled is None or not len(unlabelled):
            return
        best, kept = self._judged(valid), self.model
        for number in range(1, self.options.rounds + 1):
            share = self.options.share * number / self.options.rounds
            self._take_in(features, label, seed, unlabelled, share)
            accuracy = self._judged(valid)
            if accuracy >= best:
                best, kept = accuracy, self.model
        self.model = kept

    def _judged(self, valid: Labelled | None) -> float:
        """The accuracy on validation images; without a guard, the same value for every model."""
        if valid is None or self.options.guard == "none" or not len(valid[1]):
            return 0.0
        return float((self.scores(valid[0]).argmax(1) == valid[1]).mean())

    def _take_in(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        seed: int,
        unlabelled: NDArray[np.float32],
        share: float,
    ) -> None:
        """Label the unlabelled images, then fit again with the most confident `share` of them."""
        of_labelled = np.bincount(label, minlength=self.classes) / len(label)
        probability = np.exp(self.scores(unlabelled)).astype(np.float64)
        taken = self._surest(probability, share, of_labelled)
        both = np.concatenate([features, unlabelled[taken]])
        labels = np.concatenate([label, probability[taken].argmax(1)])
        weights = np.concatenate([np.ones(len(label)), self._weights(probability[taken])])
        weights *= self.of_class[labels]
        self._fit_weighted(both, labels, weights, seed)

    def _weights(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        sureness = probability.max(1) if self.options.weighting == "soft" else 1.0
        weights: NDArray[np.float64] = self.options.weight * np.ones(len(probability)) * sureness
        return weights

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
        self, probability: NDArray[np.float64], share: float, of_labelled: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """The rows of the unlabelled images that are used, ascending, from probabilities (M, K)."""
        guess, sureness = probability.argmax(1), probability.max(1)
        order = np.argsort(-sureness, kind="stable")
        order = order[sureness[order] >= self.options.confidence]
        wanted = share * len(probability)
        if self.options.balance == "none":
            return np.sort(order[: max(1, round(wanted))])
        taken = []
        for k, part in enumerate(self._proportions(probability, of_labelled)):
            taken.append(order[guess[order] == k][: round(wanted * part)])
        return np.sort(np.concatenate(taken))

    def _proportions(
        self, probability: NDArray[np.float64], of_labelled: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The share (K,) of each class among the unlabelled images, as `balance` assumes it."""
        if self.options.balance == "labelled":
            return of_labelled
        if self.options.balance == "estimated":
            return estimated_proportions(probability, of_labelled)
        counted = np.bincount(probability.argmax(1), minlength=self.classes)
        return counted / len(probability)


def estimated_proportions(
    probability: NDArray[np.float64], before: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The proportions (K,) of classes that best explain probabilities (M, K) of unlabelled images.

    `before` (K,) are the proportions that the probabilities were fitted with. Expectation
    maximisation; Saerens et al. (2002).
    """
    present = before > 0
    factor, estimate = np.ones_like(before), before
    for _ in range(ROUNDS_OF_ESTIMATION):
        factor[present] = estimate[present] / before[present]
        shares = probability * factor
        estimate = (shares / shares.sum(1, keepdims=True)).mean(0)
    return estimate

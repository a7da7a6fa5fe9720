"""Heads: pooled features to scores, one file each.

A head with `by_gradient = True` is an `nn.Module` made from (options, features, classes) that gives
logits. One with `by_gradient = False` has `fit(features, label, seed)` and `scores(features)`, both
on numpy arrays. `fit` is also given `unlabelled`, the features of unlabelled images, where the head
says `learns_from_unlabelled`, and `valid`, the features and labels of the validation images, where
it says `judges_by_validation`.
"""

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.core.parts import options_of, part_class
from birds.core.spec import Part

UNSEEN = -30.0  # the bias of a class without labels
LEAST = 1e-6  # the smallest probability, so that its logarithm is finite


def create_head(part: Part, features: int, classes: int) -> Any:
    """The head of this part for feature vectors of that length."""
    made_by = part_class("head", part.place)
    return made_by(options_of("head", part), features, classes)


class FrozenHead:
    """A head on frozen features that needs no gradient. Subclasses define `fit` and `scores`."""

    by_gradient = False
    learns_from_unlabelled = False
    judges_by_validation = False
    note = ""  # a warning about the fit, such as an option that had no effect
    has_network = False  # whether `network` gives a network with the same probabilities
    takes_weights = False  # whether `fit` takes a weight for each image, (N,)
    counts_classes_equally = False  # whether the numbers of labels do not matter

    def __init__(self, options: Any, features: int, classes: int) -> None:
        self.options = options
        self.classes = classes
        self.model: Any = None

    @classmethod
    def check(cls, options: Any, classifier: Any, spec: Any) -> None:
        """Refuse an extra loss, which needs gradients."""
        if classifier.extra_loss.name != "none":
            raise ValueError(
                f"extra_loss={classifier.extra_loss.name} trains an encoder together with the "
                f"head, but head={classifier.head.name} is fitted without gradients; choose "
                "head=linear"
            )


class FittedHead(FrozenHead):
    """A head that scikit-learn fits on standardised features. Subclasses define `estimator`."""

    @abstractmethod
    def estimator(self, seed: int) -> Any:
        """scikit-learn's untrained estimator."""
        raise NotImplementedError

    def steps(self, seed: int) -> list[Any]:
        """The steps of the pipeline: features are standardised first."""
        from sklearn.preprocessing import StandardScaler

        return [StandardScaler(), self.estimator(seed)]

    def fit(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        seed: int,
        *,
        weight: NDArray[np.float64] | None = None,
    ) -> None:
        """Fit features (N, F) and labels (N,), with image weights (N,) if the head takes them.

        Raises UserError when all labels are of one class.
        """
        from sklearn.pipeline import make_pipeline

        if len(np.unique(label)) < 2:
            raise UserError(
                f"head={type(self).__name__.lower()}: all {len(label)} labelled images belong to "
                "one class, but a classifier needs two; choose a smaller split, or a data set with "
                "labelled images of more classes"
            )
        self.model = make_pipeline(*self.steps(seed))
        last = self.model.steps[-1][0]
        weights = {} if weight is None else {f"{last}__sample_weight": weight}
        self.model.fit(features, label, **weights)

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logarithms of the class probabilities (N, classes) for features (N, F)."""
        return log_probabilities(self.model, features, self.classes)

    def network(self) -> Any:
        """The layer of `linear` in fp32, from features (B, F) to logits (B, S)."""
        import torch
        from torch import nn

        weight, bias = self.linear()
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        return layer

    def linear(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights (classes, F) and biases (classes,) of one layer that replaces the whole pipeline.

        The softmax of its output gives the probabilities. Only for linear models.
        """
        scaler, estimator = self.model[0], self.model[-1]
        weight, bias = estimator.coef_, estimator.intercept_
        if len(weight) == 1:  # with two classes, the first one's logit is 0
            weight = np.concatenate([np.zeros_like(weight), weight])
            bias = np.append(0.0, bias)
        scaled = weight / scaler.scale_
        weights = np.zeros((self.classes, weight.shape[1]))
        biases = np.full(self.classes, UNSEEN)
        weights[estimator.classes_] = scaled
        biases[estimator.classes_] = bias - scaled @ scaler.mean_
        return weights, biases


def log_probabilities(model: Any, features: Any, classes: int) -> NDArray[np.float32]:
    """The log-probabilities (N, classes) of a fitted scikit-learn estimator for features (N, F).

    A class that was not in the estimator's training data gets the smallest probability, LEAST.
    """
    probability = np.full((len(features), classes), LEAST)
    probability[:, model.classes_] = np.nan_to_num(model.predict_proba(features))
    scores: NDArray[np.float32] = np.log(probability.clip(LEAST)).astype(np.float32)
    return scores

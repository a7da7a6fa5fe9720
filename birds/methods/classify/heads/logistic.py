"""Logistic regression on frozen features, by scikit-learn."""

import math
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from birds.core.spec import Choices
from birds.methods.classify.heads import LEAST
from birds.methods.classify.heads._strength import RegularisedHead, Strength

ABSENT = -1e4  # the logit of a class without labelled images


class Logistic(RegularisedHead):
    """Multinomial logistic regression with an L2 penalty."""

    takes_weights = True

    class Options(Choices):
        """C: the inverse of the penalty's strength, or auto: by cross-validation on labelled
        images; iterations: of the solver, at most.
        """

        C: Strength = 1.0
        iterations: Annotated[int, Field(ge=1)] = 2000

    def estimator(self, seed: int) -> Any:
        """scikit-learn's LogisticRegression."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=self.strength, max_iter=self.options.iterations)

    def as_layers(self) -> nn.Module:
        """One linear layer, the standardising inside it, and the logarithms of probabilities."""
        scaler, model = self.model[0], self.model[-1]
        rows = model.coef_.astype(np.float64)
        biases = model.intercept_.astype(np.float64)
        if len(rows) == 1:  # of two classes, scikit-learn keeps the second one's
            rows = np.concatenate([np.zeros_like(rows), rows])
            biases = np.concatenate([np.zeros_like(biases), biases])
        weight = np.zeros((self.classes, rows.shape[1]))
        bias = np.full(self.classes, ABSENT)
        weight[model.classes_] = rows / scaler.scale_
        bias[model.classes_] = biases - (rows / scaler.scale_) @ scaler.mean_
        return LogProbabilities(weight, bias)


class LogProbabilities(nn.Module):
    """Features to the logarithms of probabilities, none less than LEAST.

    Args:
        weight: a row of factors a class, (classes, F).
        bias: a number a class, (classes,).
    """

    def __init__(self, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        super().__init__()
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(weight))
            self.linear.bias.copy_(torch.from_numpy(bias))

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B S"]:
        """Scores, float32."""
        logits: Tensor = self.linear(features)
        return logits.log_softmax(1).clamp(min=math.log(LEAST))

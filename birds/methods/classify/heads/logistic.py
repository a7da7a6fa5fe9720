"""Logistic regression on frozen features, by scikit-learn."""

from typing import Annotated, Any

from pydantic import Field

from birds.core.spec import Choices
from birds.methods.classify.heads._strength import RegularisedHead, Strength


class Logistic(RegularisedHead):
    """Multinomial logistic regression with an L2 penalty."""

    has_network = True
    takes_weights = True

    class Options(Choices):
        """C: the inverse of the penalty's strength, or auto to choose it by cross-validation on the
        labelled images; iterations: the most iterations of the solver.
        """

        C: Strength = 1.0
        iterations: Annotated[int, Field(ge=1)] = 2000

    def estimator(self, seed: int) -> Any:
        """scikit-learn's LogisticRegression."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=self.strength, max_iter=self.options.iterations)

"""Logistic regression on frozen features, by scikit-learn."""

from typing import Annotated, Any

from pydantic import Field

from birds.core.spec import Choices
from birds.methods.classify.heads import FittedHead


class Logistic(FittedHead):
    """Multinomial logistic regression with an L2 penalty."""

    class Options(Choices):
        """C: the inverse of the penalty's strength; iterations: of the solver, at most."""

        C: Annotated[float, Field(gt=0)] = 1.0
        iterations: Annotated[int, Field(ge=1)] = 2000

    def estimator(self, seed: int) -> Any:
        """scikit-learn's LogisticRegression."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=self.options.C, max_iter=self.options.iterations)

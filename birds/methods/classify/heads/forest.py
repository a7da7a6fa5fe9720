"""A random forest on frozen features, by scikit-learn (Breiman 2001, 10.1023/A:1010933404324)."""

from typing import Annotated, Any

from pydantic import Field

from birds.core.spec import Choices
from birds.methods.classify.heads import FittedHead


class Forest(FittedHead):
    """A random forest."""

    takes_weights = True

    class Options(Choices):
        """trees: the number of trees."""

        trees: Annotated[int, Field(ge=1, le=10_000)] = 300

    def estimator(self, seed: int) -> Any:
        """scikit-learn's RandomForestClassifier."""
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(self.options.trees, random_state=seed, n_jobs=1)

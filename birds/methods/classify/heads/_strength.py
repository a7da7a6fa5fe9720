"""The strength of a linear head's regularisation: a number, or chosen by cross-validation.

Only labelled training images are used for the choice, never validation or test images. Folds are
stratified; there are five, or as many as the smallest class has images.
"""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birds.methods.classify.heads import FittedHead

Strength = Annotated[float, Field(gt=0)] | Literal["auto"]
TRIED = (0.001, 0.01, 0.1, 1.0, 10.0)
FOLDS = 5


class RegularisedHead(FittedHead):
    """A fitted head with an option `C`; `estimator` reads `strength`."""

    strength = 1.0

    def fit(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        seed: int,
        *,
        weight: NDArray[np.float64] | None = None,
    ) -> None:
        """Choose the strength, then fit features (N, F) and labels (N,), perhaps weighted (N,)."""
        from sklearn.pipeline import make_pipeline

        asked = self.options.C
        if asked == "auto":
            asked = chosen_strength(make_pipeline(*self.steps(seed)), features, label, seed)
        self.strength = asked
        super().fit(features, label, seed, weight=weight)


def chosen_strength(
    pipeline: Any, features: NDArray[np.float32], label: NDArray[np.int64], seed: int
) -> float:
    """The C of TRIED whose left-out images are classified best; the smallest of equal ones.

    Args:
        pipeline: scikit-learn's, whose last step has a `C`.
        features: (N, F).
        label: (N,).
        seed: of the folds.

    Returns 1.0 where a class has a single image, since nothing can be left out there.
    """
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    folds = min(FOLDS, int(np.bincount(label)[np.unique(label)].min()))
    if folds < 2:
        return 1.0
    name = f"{pipeline.steps[-1][0]}__C"
    search = GridSearchCV(
        pipeline,
        {name: list(TRIED)},
        cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
        refit=False,
        scoring=_scoring(pipeline),
    )
    search.fit(features, label)
    return float(search.best_params_[name])


def _scoring(pipeline: Any) -> str:
    """The log loss where there are probabilities: it sees more than accuracy does in few images."""
    return "neg_log_loss" if hasattr(pipeline.steps[-1][1], "predict_proba") else "accuracy"

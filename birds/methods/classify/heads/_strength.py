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
    """A fitted head with an option `C`; its `estimator` uses `strength`."""

    strength = 1.0

    def fit(
        self,
        features: NDArray[np.float32],
        label: NDArray[np.int64],
        seed: int,
        *,
        weight: NDArray[np.float64] | None = None,
    ) -> None:
        """Choose the strength, then fit features (N, F), labels (N,) and, if given, image weights
        (N,).
        """
        from sklearn.pipeline import make_pipeline

        asked = self.options.C
        if asked == "auto":
            asked = chosen_strength(make_pipeline(*self.steps(seed)), features, label, seed)
        self.strength = asked
        super().fit(features, label, seed, weight=weight)


def chosen_strength(
    pipeline: Any, features: NDArray[np.float32], label: NDArray[np.int64], seed: int
) -> float:
    """The C of TRIED with the best score on held-out images; of equal scores, the smallest C.

    Args:
        pipeline: a scikit-learn pipeline whose last step has a `C`.
        features: (N, F).
        label: (N,).
        seed: for the folds.

    Returns 1.0 if a class has a single image, because then no image can be held out.
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
    """The log loss if the estimator gives probabilities: with few images, accuracy often ties."""
    return "neg_log_loss" if hasattr(pipeline.steps[-1][1], "predict_proba") else "accuracy"

"""Calibrates a classifier's probabilities, and measures how often confident predictions are wrong.

The temperature is fitted on a run's validation images. The error rates are measured on its test
images. Both come from the run's saved predictions, without torch.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.core.proportions import wilson
from birds.core.store import RunFolder

TEMPERATURES = (0.01, 100.0)

Scores = NDArray[np.floating]
Labels = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The calibration of a classifier's probabilities.

    temperature: what logits are divided by.
    unsure_below: the probability below which a prediction is called unsure.
    sure, unsure: (wrong, all) test images with a prediction above or below this probability.
    """

    temperature: float = 1.0
    unsure_below: float = 0.0
    sure: tuple[int, int] = (0, 0)
    unsure: tuple[int, int] = (0, 0)

    def sentence(self) -> str:
        """What the threshold means, in a sentence with error rates on the test images."""
        images = self.sure[1] + self.unsure[1]
        if not images or not self.unsure_below:
            return ""
        words = [f"Unsure means a probability below {self.unsure_below:.0%}."]
        for name, counted in (("unsure", self.unsure), ("sure", self.sure)):
            if counted[1]:
                words.append(
                    f"Of the {images} test images {counted[1]} were {name}; {_rate(counted)} of "
                    "these were wrong."
                )
            else:
                words.append(f"Of the {images} test images none was {name}.")
        return " ".join(words)


def _rate(counted: tuple[int, int]) -> str:
    """A proportion with its 95 % interval."""
    wrong, images = counted
    if not images:
        return "none"
    ends = wilson(wrong, images)
    return f"{100 * wrong / images:.1f} % [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"


def softmax(logits: Scores, temperature: float = 1.0) -> NDArray[np.float64]:
    """The probabilities (N, S) of logits (N, S)."""
    scaled = np.asarray(logits, np.float64) / temperature
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


def fitted_temperature(logits: Scores, label: Labels) -> float:
    """The temperature with the lowest cross entropy (Guo et al. 2017, arXiv:1706.04599).

    The target of N images is not 1 for the true class but (N + 1) / (N + 2), as Platt (1999) has
    it: a few images that are all right do not make a classifier certain. 1 where there are fewer
    than two images, or their logits are no numbers.

    Args:
        logits: of the validation images, (N, S).
        label: their classes, (N,).
    """
    from scipy.optimize import minimize_scalar

    if len(label) < 2 or not np.isfinite(logits).all():
        return 1.0
    images, classes = np.shape(logits)
    doubt = 1 / (images + 2)
    target = np.full((images, classes), doubt / max(classes - 1, 1))
    target[np.arange(images), label] = 1 - doubt

    def loss(log_temperature: float) -> float:
        chances = softmax(logits, np.exp(log_temperature))
        return float(-(target * np.log(np.maximum(chances, 1e-300))).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded")
    return float(np.exp(found.x))


def calibration_of(folder: RunFolder, unsure_below: float) -> Calibration:
    """The calibration of a finished classifier, from its saved predictions.

    Raises UserError when the threshold is not a probability.
    """
    if not 0 <= unsure_below <= 1:
        raise UserError(f"--unsure {unsure_below:g}: choose a probability in 0 to 1, such as 0.5")
    try:
        with np.load(folder.predictions_file, allow_pickle=False) as saved:
            valid, test = (
                (saved[f"{part}_logits"], saved[f"{part}_label"]) for part in ("valid", "test")
            )
    except (OSError, ValueError, KeyError):
        return Calibration(unsure_below=unsure_below)
    temperature = fitted_temperature(*valid)
    probability = softmax(test[0], temperature)
    wrong = probability.argmax(1) != test[1]
    is_unsure = probability.max(1) < unsure_below
    return Calibration(
        temperature,
        unsure_below,
        sure=(int(wrong[~is_unsure].sum()), int((~is_unsure).sum())),
        unsure=(int(wrong[is_unsure].sum()), int(is_unsure.sum())),
    )

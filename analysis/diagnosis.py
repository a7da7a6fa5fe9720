"""Bias, overfitting, and whether more epochs would help, told from a run's accuracies and curves.

The rules, which the guide repeats (docs/guide/study.md). All accuracies are of the weights that
were kept; those on training images are without augmentation.

- High bias: more than 10 points of error on the training images. The network or its training is
  too weak for its own images.
- Overfitting: training accuracy is more than 5 points above validation accuracy, and above the
  upper end of its 95 % interval (Wilson, over validation images).
- Overfitting in time: after its lowest value the validation loss ended at least 10 % higher, while
  the training loss went on falling.
- More epochs would help: all epochs that were asked for were run, the lowest validation loss is in
  the last tenth of them, and the mean of the last fifth is at least 1 % below that of the fifth
  before. If that fall is smaller, the curve has levelled off and more would hardly help. If the
  lowest value is earlier, more would not help.

The learning rate falls to zero at the end of its schedule, which flattens every curve: "more
epochs" means a longer schedule, asked for from the start.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.pareto import wilson

BIAS = 0.10  # error on training images above this
GAP = 0.05  # of training accuracy above validation accuracy
LATE_RISE = 0.10  # of the validation loss above its lowest value
LAST = 0.10  # share of the epochs that counts as the end
WINDOW = 0.20  # share of the epochs that a trend is a mean of
FALL = 0.01  # of the validation loss from one window to the next

MORE = {
    "yes": "more epochs would probably help: the validation loss was still falling at the end",
    "level": "more epochs would hardly help: the validation loss has levelled off",
    "no": "more epochs would not help: the validation loss was lowest in epoch {lowest} of {asked}",
    "early": "more epochs would not help: patience ended the training after {done} of {asked}",
    "none": "its head is fitted at once, so there are no epochs to add",
}


class Diagnosis(NamedTuple):
    """What the rules say of a run. `more` is a word of MORE; None where a rule cannot be asked."""

    train: float | None
    valid: float
    bias: bool | None
    overfits: bool | None
    late: int | None
    more: str
    sentence: str


def diagnosed(run: Mapping[Any, Any], epochs: pd.DataFrame | None) -> Diagnosis:
    """The diagnosis of a finished classifier.

    Args:
        run: its record, with valid_accuracy, and images_valid and train_accuracy where it has them.
        epochs: its curves (epoch, train_loss, valid_loss); None for a head that is fitted.
    """
    train, valid = run.get("train_accuracy"), float(run["valid_accuracy"])
    if train is None or math.isnan(train):
        train = None
    asked = run.get("epochs_asked")
    late = overfits_in_time(epochs) if epochs is not None else None
    more = would_help(epochs, int(asked)) if epochs is not None and asked else "none"
    bias = None if train is None else 1 - train > BIAS
    overfits = None
    if train is not None:
        upper = wilson(valid, max(1, int(run.get("images_valid", 1))))[1]
        overfits = bool(train - valid > GAP and train > upper)
    parts = [_accuracies(train, valid), _weakness(bias, overfits)]
    if late is not None:
        parts.append(f"the validation loss rose after epoch {late} while training went on falling")
    words = {"asked": asked, "done": 0, "lowest": 0}
    if epochs is not None and len(epochs):
        words |= {"done": len(epochs), "lowest": _lowest(epochs) + 1}
    parts.append(MORE[more].format(**words))
    sentence = "; ".join(part for part in parts if part)
    return Diagnosis(train, valid, bias, overfits, late, more, sentence)


def overfits_in_time(epochs: pd.DataFrame) -> int | None:
    """The epoch, counted from 1, from which on the validation loss rose; None where it did not."""
    loss = epochs["valid_loss"].to_numpy(float)
    lowest = int(np.nanargmin(loss))
    training = epochs["train_loss"].to_numpy(float)
    rose = loss[-1] >= (1 + LATE_RISE) * loss[lowest]
    return lowest + 1 if rose and training[-1] < training[lowest] else None


def would_help(epochs: pd.DataFrame, asked: int) -> str:
    """Whether more epochs would help: yes, level, no, or early where patience ended it."""
    loss = epochs["valid_loss"].to_numpy(float)
    done = len(loss)
    if done < asked:
        return "early"
    if _lowest(epochs) + 1 <= done - max(1, round(LAST * done)):
        return "no"
    window = max(1, round(WINDOW * done))
    if done < 2 * window:
        return "level"
    before, last = loss[-2 * window : -window].mean(), loss[-window:].mean()
    return "yes" if last <= (1 - FALL) * before else "level"


def _lowest(epochs: pd.DataFrame) -> int:
    return int(np.nanargmin(epochs["valid_loss"].to_numpy(float)))


def _accuracies(train: float | None, valid: float) -> str:
    if train is None:
        return f"validation accuracy {valid:.1%}"
    return f"training accuracy {train:.1%}, validation accuracy {valid:.1%}"


def _weakness(bias: bool | None, overfits: bool | None) -> str:
    if bias is None:
        return ""
    if bias and overfits:
        return "high bias and overfitting: it errs on its own images, and more on others"
    if bias:
        return (
            "high bias: it errs on its own images; a wider network or less regularisation may help"
        )
    if overfits:
        return (
            "it overfits: it knows its own images far better than others; more images, "
            "augmentation or regularisation may help"
        )
    return "neither high bias nor overfitting"

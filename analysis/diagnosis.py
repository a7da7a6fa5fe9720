"""Diagnoses a run from its accuracies and curves: bias, overfitting, and whether more epochs would
help.

These are the rules; docs/guide/study.md repeats them. All accuracies are for the kept weights;
training accuracy is without augmentation.

- High bias: more than 10 points of error on the training images. The network or its training is
  too weak even for these images.
- Overfitting: training accuracy is more than 5 points above validation accuracy, and above the
  upper end of its 95 % interval (Wilson, over validation images).
- Overfitting in time: the validation loss ended at least 10 % above its lowest value, while the
  training loss kept falling.
- More epochs would help: all requested epochs were run, the lowest validation loss is in the last
  tenth of them, and the mean of the last fifth is at least 1 % below that of the fifth before. If
  the decrease is smaller, the curve has levelled off and more epochs would hardly help. If the
  lowest value is earlier, more epochs would not help.

The learning rate falls to zero at the end of its schedule, which flattens every curve. So "more
epochs" means a longer schedule from the start.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.intervals import wilson

BIAS = 0.10  # error on training images above this
GAP = 0.05  # of training accuracy above validation accuracy
LATE_RISE = 0.10  # of the validation loss above its lowest value
LAST = 0.10  # share of the epochs that counts as the end
WINDOW = 0.20  # share of the epochs in a window for the trend
FALL = 0.01  # minimum relative decrease of the validation loss from window to window

MORE = {
    "yes": "more epochs would probably help: the validation loss was still falling at the end",
    "level": "more epochs would hardly help: the validation loss has levelled off",
    "no": "more epochs would not help: the validation loss was lowest in epoch {lowest} of {asked}",
    "early": "more epochs would not help: early stopping ended it after {done} of {asked}",
    "none": "its head is fitted in one step, so there are no epochs to add",
}


class Diagnosis(NamedTuple):
    """The result of the rules for a run. `more` is a key of MORE; None means unknown."""

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
        run: its record, with valid_accuracy, and images_valid and train_accuracy if known.
        epochs: its curves (epoch, train_loss, valid_loss); None for a head fitted in one step.
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
        parts.append(f"the validation loss rose after epoch {late} while the training loss fell")
    words = {"asked": asked, "done": 0, "lowest": 0}
    if epochs is not None and len(epochs):
        words |= {"done": len(epochs), "lowest": _lowest(epochs) + 1}
    parts.append(MORE[more].format(**words))
    sentence = "; ".join(part for part in parts if part)
    return Diagnosis(train, valid, bias, overfits, late, more, sentence)


def overfits_in_time(epochs: pd.DataFrame) -> int | None:
    """The epoch, counted from 1, after which the validation loss rose; None if it did not."""
    loss = epochs["valid_loss"].to_numpy(float)
    lowest = int(np.nanargmin(loss))
    training = epochs["train_loss"].to_numpy(float)
    rose = loss[-1] >= (1 + LATE_RISE) * loss[lowest]
    return lowest + 1 if rose and training[-1] < training[lowest] else None


def would_help(epochs: pd.DataFrame, asked: int) -> str:
    """Whether more epochs would help: yes, level, no, or early if early stopping ended it."""
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
        return "high bias and overfitting: it makes errors on training images, and more on others"
    if bias:
        return (
            "high bias: it makes errors on its training images; a wider network or less "
            "regularisation may help"
        )
    if overfits:
        return (
            "overfitting: it is far better on its training images than on others; more images, "
            "augmentation or regularisation may help"
        )
    return "neither high bias nor overfitting"

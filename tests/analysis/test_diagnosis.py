"""The written rules on bias, overfitting and epochs, on curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.diagnosis import diagnosed

FALLING = 2.0 * 0.8 ** np.arange(20)


def epochs(valid: np.ndarray, train: np.ndarray | None = None) -> pd.DataFrame:
    own = FALLING[: len(valid)] if train is None else train
    return pd.DataFrame({"epoch": range(len(valid)), "train_loss": own, "valid_loss": valid})


def run(train: float | None, valid: float, asked: int = 20) -> dict[str, float | None]:
    return {
        "train_accuracy": train,
        "valid_accuracy": valid,
        "images_valid": 500,
        "epochs_asked": asked,
    }


@pytest.mark.parametrize(
    ("train", "valid", "bias", "overfits"),
    [
        (0.95, 0.94, False, False),
        (0.60, 0.58, True, False),
        (0.99, 0.70, False, True),
        (0.80, 0.60, True, True),
        (0.99, 0.945, False, False),  # 4.5 points are not enough for a gap
        (None, 0.5, None, None),
    ],
)
def test_bias_and_overfitting(
    train: float | None, valid: float, bias: bool | None, overfits: bool | None
) -> None:
    found = diagnosed(run(train, valid), epochs(FALLING))
    assert (found.bias, found.overfits) == (bias, overfits)


def test_a_gap_that_few_validation_images_cannot_show_is_none() -> None:
    few = run(0.96, 0.90) | {"images_valid": 20}
    assert diagnosed(few, epochs(FALLING)).overfits is False
    assert diagnosed(run(0.96, 0.90), epochs(FALLING)).overfits is True


@pytest.mark.parametrize(
    ("valid", "asked", "more"),
    [
        (FALLING, 20, "yes"),
        (FALLING[:12], 20, "early"),
        (1 + 1e-5 * np.arange(20)[::-1], 20, "level"),
        (1 + 0.1 * np.abs(np.arange(20) - 8), 20, "no"),
        (FALLING[:1], 1, "level"),
    ],
)
def test_whether_more_epochs_would_help(valid: np.ndarray, asked: int, more: str) -> None:
    assert diagnosed(run(0.95, 0.94, asked), epochs(valid)).more == more


def test_overfitting_in_time_names_the_epoch() -> None:
    valid = 1 + 0.1 * np.abs(np.arange(20) - 8)
    found = diagnosed(run(0.99, 0.7), epochs(valid))
    assert found.late == 9
    assert "rose after epoch 9" in found.sentence
    rising = epochs(valid, train=np.arange(20.0))
    assert diagnosed(run(0.99, 0.7), rising).late is None


def test_a_fitted_head_has_no_epochs_to_add() -> None:
    found = diagnosed(run(0.99, 0.7) | {"epochs_asked": None}, None)
    assert found.more == "none"
    assert "training accuracy 99.0%, validation accuracy 70.0%" in found.sentence

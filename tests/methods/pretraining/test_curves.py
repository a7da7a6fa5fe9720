"""A pretraining's first steps: the same numbers as ever, in fp32 and near enough in bf16."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from composing import needed
from made_specs import SMALL
from small_data import data_for

from birds.methods.pretraining.autoencoder import Autoencoder

GOLDEN = Path(__file__).parents[2] / "golden" / "pretraining.txt"

pytestmark = pytest.mark.filterwarnings("ignore")


def steps_of_pretraining(count: int, precision: torch.dtype) -> list[float]:
    """The loss of so many steps on one batch, as autocast computes it."""
    torch.set_num_threads(1)
    made = needed("variant=B2", *SMALL)
    method = Autoencoder(made, 4)
    method.log = lambda *a, **k: None  # type: ignore[method-assign]
    data = data_for(made)
    optimizer = method.configure_optimizers()["optimizer"]
    batch = data.on_after_batch_transfer(data.batch("train", [(0, k) for k in range(8)]), 0)
    losses = []
    for step in range(count):
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            loss = method.training_step(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_five_steps_follow_the_golden_curve() -> None:
    """fp32 on one thread, to a tolerance that other CPUs' convolutions stay within."""
    golden = [float(line) for line in GOLDEN.read_text().split()]
    assert steps_of_pretraining(5, torch.float32) == pytest.approx(golden, rel=2e-3)


def test_bf16_follows_the_curve_of_fp32() -> None:
    """Within 1 % over twenty steps.

    bf16 keeps 8 bits, so a product is off by up to 2^-9 (0.2 %); sums are kept in fp32, weights and
    losses too, and the mean over 400,000 pixels averages what is random. What is left is the drift
    of two trajectories that part.
    """
    plain = steps_of_pretraining(20, torch.float32)
    fast = steps_of_pretraining(20, torch.bfloat16)
    assert plain[-1] < 0.9 * plain[0], "it has not learned, and anything follows a flat curve"
    assert fast == pytest.approx(plain, rel=1e-2)
    assert fast != plain

"""The first steps of a pretraining: unchanged numbers in fp32, and similar ones in bf16."""

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
    """The loss of each of some steps on one batch, computed in autocast's precision."""
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
    """fp32 on one thread; the tolerance allows for the convolutions of other CPUs."""
    golden = [float(line) for line in GOLDEN.read_text().split()]
    assert steps_of_pretraining(5, torch.float32) == pytest.approx(golden, rel=2e-3)


def test_bf16_follows_the_curve_of_fp32() -> None:
    """Within 1 % over twenty steps.

    bf16 keeps 8 bits, so a product has an error of up to 2^-9 (0.2 %). Sums, weights and losses
    stay in fp32, and the mean over 400,000 pixels averages random errors. The rest is the growing
    distance between two training runs.
    """
    plain = steps_of_pretraining(20, torch.float32)
    fast = steps_of_pretraining(20, torch.bfloat16)
    assert plain[-1] < 0.9 * plain[0], "it has not learned, and anything follows a flat curve"
    assert fast == pytest.approx(plain, rel=1e-2)
    assert fast != plain

"""The variational latent: what it costs, what is free, how the cost comes into force, and what
evaluation sees.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from birds.methods.pretraining import Passage
from birds.methods.pretraining.variational import Variational, build, with_free_bits
from birds.methods.pretraining.variational import kl_divergence as cost_of


def variational(**changed: Any) -> Variational:
    torch.manual_seed(0)
    options = {
        "kl": 0.5,
        "kl_warmup": 0.4,
        "free_bits": 0.1,
        "noise": 0.0,
        "hidden": 0.0,
        "patch": 16,
        "loss": "all",
    }
    made = build(6, **(options | changed))
    assert isinstance(made, Variational)
    return made


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_divergence_is_that_of_the_textbook_and_nothing_for_the_prior() -> None:
    mean, log_variance = torch.randn(50), torch.randn(50)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(cost_of(mean, log_variance), expected)
    assert (cost_of(torch.zeros(3), torch.zeros(3)) == 0).all()


def test_free_bits_are_a_floor_for_each_channel() -> None:
    cost = torch.tensor([0.02, 0.5]).view(1, 2, 1, 1).expand(4, 2, 3, 3).clone().requires_grad_()
    counted = with_free_bits(cost, 0.1)
    assert counted.item() == pytest.approx((0.1 + 0.5) / 2)
    counted.backward()
    assert cost.grad is not None
    assert (cost.grad[:, 0] == 0).all(), "a channel below the floor is still pushed down"
    assert (cost.grad[:, 1] > 0).all()


def test_the_cost_comes_into_force_over_the_warm_up() -> None:
    made, photo = variational(free_bits=0.0), torch.rand(2, 3, 32, 32)
    passage = Passage(photo, photo, photo, torch.full((2, 6, 2, 2), 0.8))
    assert [round(made.loss(passage, progress).item(), 6) for progress in (0.0, 0.2, 0.4, 1.0)] == [
        0,
        0.2,
        0.4,
        0.4,
    ]
    assert variational(kl_warmup=0.0, free_bits=0.0).loss(passage, 0.0) == pytest.approx(0.4)


def test_training_draws_and_evaluation_takes_the_mean() -> None:
    made, deepest = variational(), torch.rand(3, 6, 8, 8)
    drawn = [made.latent(deepest, random(seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    mean, first = made.eval().latent(deepest, random(0))
    again, _ = made.latent(deepest, random(1))
    assert torch.equal(mean, again)
    assert first is not None
    assert first.shape == mean.shape


def test_draws_have_the_mean_and_spread_that_were_told() -> None:
    made = variational()
    torch.nn.init.zeros_(made.mean.weight)
    torch.nn.init.zeros_(made.log_variance.weight)
    torch.nn.init.constant_(made.mean.bias, 2.0)
    torch.nn.init.constant_(made.log_variance.bias, -1.0)
    latent, cost = made.latent(torch.rand(8, 6, 32, 32), random())
    assert latent.mean().item() == pytest.approx(2.0, abs=0.02)
    assert latent.std().item() == pytest.approx(2.718281828**-0.5, abs=0.02)
    assert cost is not None
    assert cost.mean().item() == pytest.approx(0.5 * (4 + 2.718281828**-1 - 1 + 1), abs=1e-4)


def test_the_prior_is_standard_normal() -> None:
    drawn = variational().prior(torch.rand(8, 6, 32, 32), random())
    assert drawn is not None
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)
    assert drawn.std().item() == pytest.approx(1, abs=0.02)

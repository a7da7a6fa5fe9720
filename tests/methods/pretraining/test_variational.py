"""The variational latent: its cost, free bits, the warm-up of the cost, and its value in
evaluation.
"""

from __future__ import annotations

import math

import pytest
import torch
from composing import needed
from made_specs import SMALL
from torch.distributions import Normal
from torch.distributions import kl_divergence as by_the_textbook

from birds.methods.pretraining.autoencoder import (
    Autoencoder,
    Passage,
    kl_divergence,
    normal_like,
    with_free_bits,
)


def variational(**changed: float) -> Autoencoder:
    """A variational autoencoder whose latent has 8 channels."""
    torch.manual_seed(0)
    chosen = {"kl": 0.5, "kl_warmup": 0.4, "free_bits": 0.1, "noise": 0.0} | changed
    words = [f"pretraining.{name}={value}" for name, value in chosen.items()]
    return Autoencoder(needed("variant=DVAE", *SMALL, *words), 4)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_divergence_is_that_of_the_textbook_and_nothing_for_the_prior() -> None:
    mean, log_variance = torch.randn(50), torch.randn(50)
    expected = by_the_textbook(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_divergence(mean, log_variance), expected)
    assert (kl_divergence(torch.zeros(3), torch.zeros(3)) == 0).all()


def test_free_bits_are_a_floor_for_each_channel() -> None:
    cost = torch.tensor([0.02, 0.5]).view(1, 2, 1, 1).expand(4, 2, 3, 3).clone().requires_grad_()
    counted = with_free_bits(cost, 0.1)
    assert counted.item() == pytest.approx((0.1 + 0.5) / 2)
    counted.backward()
    assert cost.grad is not None
    assert (cost.grad[:, 0] == 0).all(), "a channel below the floor is still pushed down"
    assert (cost.grad[:, 1] > 0).all()


def test_the_cost_comes_into_force_over_the_warm_up() -> None:
    made, image = variational(free_bits=0.0), torch.rand(2, 3, 32, 32)
    passage = Passage(image, image, image, torch.full((2, 8, 2, 2), 0.8))
    losses = [made.loss(passage, progress).item() for progress in (0.0, 0.2, 0.4, 1.0)]
    assert losses == pytest.approx([0, 0.2, 0.4, 0.4])
    at_once = variational(kl_warmup=0.0, free_bits=0.0)
    assert at_once.loss(passage, 0.0).item() == pytest.approx(0.4)


def test_training_draws_and_evaluation_takes_the_mean() -> None:
    made, deepest = variational(), torch.rand(3, 8, 8, 8)
    drawn = [made.code(deepest, random(seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    mean, cost = made.eval().code(deepest, random(0))
    again, _ = made.code(deepest, random(1))
    assert torch.equal(mean, again)
    assert cost is not None
    assert cost.shape == mean.shape


def test_draws_have_the_mean_and_spread_that_were_told() -> None:
    made = variational()
    torch.nn.init.zeros_(made.mean.weight)
    torch.nn.init.zeros_(made.log_variance.weight)
    torch.nn.init.constant_(made.mean.bias, 2.0)
    torch.nn.init.constant_(made.log_variance.bias, -1.0)
    latent, cost = made.code(torch.rand(8, 8, 32, 32), random())
    assert latent.mean().item() == pytest.approx(2.0, abs=0.02)
    assert latent.std().item() == pytest.approx(math.exp(-0.5), abs=0.02)
    assert cost is not None
    assert cost.mean().item() == pytest.approx(0.5 * (4 + math.exp(-1) - 1 + 1), abs=1e-4)


def test_the_latent_vector_is_the_mean_of_the_latent_not_of_the_map() -> None:
    made, image = variational().eval(), torch.rand(2, 3, 32, 32)
    deepest = made.encoder(image)[-1]
    torch.testing.assert_close(made.latent(image), made.mean(deepest).mean((2, 3)))
    plain = Autoencoder(needed("variant=B2", *SMALL), 4).eval()
    torch.testing.assert_close(plain.latent(image), plain.encoder(image)[-1].mean((2, 3)))


def test_the_prior_is_standard_normal_and_only_a_variational_one_draws_from_it() -> None:
    drawn = normal_like(torch.rand(8, 6, 32, 32), random())
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)
    assert drawn.std().item() == pytest.approx(1, abs=0.02)
    image = torch.rand(2, 3, 32, 32)
    made = variational().eval()
    found = made.drawn(image, random())
    assert found is not None
    assert found.shape == image.shape
    other = made.drawn(torch.rand(2, 3, 32, 32), random())
    torch.testing.assert_close(found, other, msg="a drawn image depends on what was shown")
    assert Autoencoder(needed("variant=B2", *SMALL), 4).drawn(image, random()) is None

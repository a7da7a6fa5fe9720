"""A denoising variational autoencoder: the deepest features become a distribution, and what it
tells has a price.

Kingma and Welling (2014, arXiv:1312.6114); denoising after Im et al. (2017, arXiv:1511.06406), the
KL term's warm-up after Sønderby et al. (2016, arXiv:1602.02282), free bits after Kingma et al.
(2016, arXiv:1606.04934).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from birds.methods.pretraining import Passage, Pretext
from birds.methods.pretraining.masked import Masked

LARGEST = (
    8.0  # of the logarithm of a variance, either way: beyond it exp() is of no use to training
)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Nats that each normal value tells beyond the standard normal distribution; 0 where it is
    that.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def with_free_bits(cost: Float[Tensor, "B C h w"], free_bits: float) -> Float[Tensor, ""]:
    """Nats per latent value, each channel's mean counted as `free_bits` at least: below it nothing
    is gained.
    """
    return cost.mean((0, 2, 3)).clamp(min=free_bits).mean()


class Variational(Masked):
    """1x1 convolutions turn the deepest features into means and log-variances of as many latent
    values.

    The loss is the squared error plus `kl` times the KL divergence of a latent value; `kl` rises
    from 0 over the share `kl_warmup` of training. In evaluation the latent is its mean.
    """

    def __init__(
        self, channels: int, *, kl: float, kl_warmup: float, free_bits: float, **corruption: Any
    ) -> None:
        super().__init__(**corruption)
        self.kl = kl
        self.kl_warmup = kl_warmup
        self.free_bits = free_bits
        self.mean = nn.Conv2d(channels, channels, 1)
        self.log_variance = nn.Conv2d(channels, channels, 1)

    def latent(
        self, deepest: Float[Tensor, "B C h w"], random: torch.Generator
    ) -> tuple[Float[Tensor, "B C h w"], Tensor | None]:
        """A draw by reparametrisation, or in evaluation the mean; and its KL divergence, value by
        value.
        """
        mean = self.mean(deepest).float()
        log_variance = self.log_variance(deepest).float().clamp(-LARGEST, LARGEST)
        cost = kl_divergence(mean, log_variance)
        if not self.training:
            return mean, cost
        return mean + (0.5 * log_variance).exp() * _normal_like(mean, random), cost

    def prior(
        self, deepest: Float[Tensor, "B C h w"], random: torch.Generator
    ) -> Float[Tensor, "B C h w"] | None:
        """Standard normal latents."""
        return _normal_like(deepest.float(), random)

    def loss(self, passage: Passage, progress: float = 1.0) -> Float[Tensor, ""]:
        """Squared error, and the price of the latent as far as it counts yet."""
        assert passage.cost is not None
        weight = self.kl * min(1.0, progress / self.kl_warmup if self.kl_warmup else 1.0)
        return super().loss(passage) + weight * with_free_bits(passage.cost, self.free_bits)


def _normal_like(values: Tensor, random: torch.Generator) -> Tensor:
    return torch.randn(values.shape, generator=random, device=values.device)


def build(channels: int, **options: Any) -> Pretext:
    """A variational pretext."""
    return Variational(channels, **options)

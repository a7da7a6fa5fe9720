"""Small parts without a command line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from birds.core.parts import options_of
from birds.core.spec import Choices, ImageChoices, Part, RunSpec, UserError
from birds.encoders import create_encoder, seeded_encoder
from birds.methods.gradient import GradientPretraining

WIDTHS = (8, 12, 16)


@contextlib.contextmanager
def skipping_what_is_not_installed() -> Iterator[None]:
    """Skip a test of a part if the part says that its library is not installed."""
    try:
        yield
    except UserError as refusal:
        if "needs the package" not in str(refusal):
            raise
        pytest.skip(str(refusal))


def unet(
    *, stem: int = 2, norm: str = "batch", channels: Any = 3, size: int = 64, seed: int = 0
) -> Any:
    """A U-Net's encoder with three levels."""
    torch.manual_seed(seed)
    options = {"stem": stem, "widths": WIDTHS, "norm": norm}
    part = Part(name="unet_small", part="unet", options=options)
    return create_encoder(part, ImageChoices(size=size, channels=channels))


class Duel(GradientPretraining):
    """Two optimizers that step by hand against each other: a GAN that trains in a second.

    It has no validation and no test, so the last epoch is kept.
    """

    automatic_optimization = False
    monitored = None

    class Options(Choices):
        """latent: how many random numbers an image is generated from."""

        latent: int = 4

    def __init__(self, spec: RunSpec, steps_per_epoch: int, after: Any = None) -> None:
        super().__init__()
        self.spec = spec
        self.steps_per_epoch = steps_per_epoch
        self.latent_size = options_of("pretraining", spec.method).latent
        self.encoder = seeded_encoder(spec)
        self.critic = nn.Linear(self.encoder.feature_dim, 1)
        image = spec.image
        self.generator = nn.Linear(self.latent_size, image.channels * image.size**2)
        self.register_buffer("steps", torch.zeros(2))

    def configure_optimizers(self) -> Any:
        """One optimizer for the critic with its encoder, and one for the generator."""
        seeing = [*self.encoder.parameters(), *self.critic.parameters()]
        return torch.optim.Adam(seeing, 1e-3), torch.optim.Adam(self.generator.parameters(), 1e-3)

    def doubt(self, image: torch.Tensor) -> torch.Tensor:
        """How strongly the critic takes each image for a generated one, as log odds."""
        return self.critic(self.encoder.features(image))

    def training_step(self, batch: Any, index: int) -> None:
        """A step of the critic, then one of the generator."""
        image = batch["image"]
        random = self.random("latent", self.global_step)
        latent = torch.randn((len(image), self.latent_size), generator=random)
        drawn = self.generator(latent).sigmoid().view_as(image)
        losses = (
            lambda: F.softplus(self.doubt(image)) + F.softplus(-self.doubt(drawn.detach())),
            lambda: F.softplus(self.doubt(drawn)),
        )
        for k, (optimizer, loss) in enumerate(zip(self.optimizers(), losses, strict=True)):
            optimizer.zero_grad()
            self.manual_backward(loss().mean())
            optimizer.step()
            self.steps[k] += 1
        self.log("train_loss", losses[0]().mean(), on_step=False, on_epoch=True)


class Halved(Duel):
    """A duel without its training step."""

    training_step = GradientPretraining.training_step

"""A DCGAN: a generator makes images, and the encoder learns to distinguish them from real ones.

Radford et al. (2016, arXiv:1511.06434). The discriminator is the encoder with one more layer after
its deepest output; `encoder=dcgan` is the paper's. Both networks learn with Adam and the losses of
Goodfellow et al. (2014, arXiv:1406.2661); the generator uses the non-saturating form. One-sided
label smoothing is optional (Salimans et al. 2016, arXiv:1606.03498).

The encoder's running statistics come from real images only, because a classifier that starts from
the encoder sees only real images. A generated batch is normalised by its own statistics and does
not change the running ones.

Samples are drawn with an exponential moving average of the generator's weights (Yazici et al. 2019,
arXiv:1806.04498), because the weights change strongly from step to step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from birds.core.parts import options_of
from birds.core.spec import Choices, RunSpec
from birds.core.store import RunFolder
from birds.data.module import Batch
from birds.encoders import Encoder, seeded_encoder
from birds.encoders.dcgan import refuse_other_sizes, start_as_dcgan
from birds.methods import Job
from birds.methods.generator import Activation, Generator
from birds.methods.gradient import GradientPretraining
from birds.methods.samples import save_animation, save_interpolation, save_samples

GRID = 64  # images in the picture of each epoch
BATCH = 100  # images drawn at once outside of training
BETA2 = 0.999


class DCGAN(GradientPretraining):
    """An encoder, the layer that makes it a discriminator, and a generator.

    Args:
        spec: the pretraining run.
        steps_per_epoch: how many batches an epoch has.
        after: the pretraining whose encoder it starts from, if any.
    """

    automatic_optimization = False
    monitored = None

    class Options(Choices):
        """The generator's architecture, and how the generator and the discriminator learn.

        latent: how many values an image is generated from. width: channels of the generator's last
        hidden layer; each layer before it has twice as many. activation: of the generator.
        smoothing: how far the discriminator's target for real images is below 1. beta1: of both
        optimizers. averaging: the decay of the moving average of the generator's weights; with 0
        samples use the last weights. images: whether it also learns from the labelled images; it
        never uses their labels.
        """

        latent: Annotated[int, Field(ge=1, le=1000)] = 100
        width: Annotated[int, Field(ge=2, le=512)] = 64
        activation: Activation = "relu"
        smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
        averaging: Annotated[float, Field(ge=0, lt=1)] = 0.999
        images: Literal["all", "unlabelled"] = "all"

    def __init__(self, spec: RunSpec, steps_per_epoch: int, after: Any = None) -> None:
        super().__init__()
        self.spec = spec
        self.steps_per_epoch = steps_per_epoch
        self.choices: Any = options_of("pretraining", spec.method)
        self.encoder = seeded_encoder(spec)
        self.judgement = nn.Linear(deepest_length(self.encoder, spec.image.size), 1)
        self.judgement.apply(start_as_dcgan)
        self.generator = Generator(
            spec.image,
            latent=self.choices.latent,
            width=self.choices.width,
            activation=self.choices.activation,
        )
        move = moving_average(self.choices.averaging)
        self.average = AveragedModel(self.generator, multi_avg_fn=move, use_buffers=True)
        self.average.requires_grad_(False)
        if after is not None:
            self.encoder.load_state_dict(after.encoder.state_dict())
        self._folder: RunFolder | None = None

    @classmethod
    def section(cls, options: Any) -> str:
        """The section of a budget that sets how long it trains."""
        return "gan"

    @classmethod
    def reads_unlabelled(cls, options: Any) -> bool:
        """Whether it needs unlabelled images."""
        return bool(options.images == "unlabelled")

    @classmethod
    def check(cls, options: Any, spec: RunSpec) -> None:
        """Raise ValueError for sizes that the generator cannot make, and for training options not
        used here.
        """
        refuse_other_sizes("the generator of pretraining=dcgan makes", spec.image.size)
        assert spec.training is not None
        for name, unread in (("warmup", 0.0), ("patience", None)):
            asked = getattr(spec.training, name)
            if asked != unread:
                shown = "null" if unread is None else unread
                raise ValueError(
                    f"budget.gan.{name}={asked}: a GAN trains every epoch at one learning rate, "
                    f"because its losses do not show its quality; choose budget.gan.{name}={shown}"
                )

    def configure_optimizers(self) -> Any:
        """One Adam optimizer for the discriminator and one for the generator."""
        training, betas = self.training_choices, (self.choices.beta1, BETA2)
        discriminating = [*self.encoder.parameters(), *self.judgement.parameters()]
        drawing = list(self.generator.parameters())
        return [
            torch.optim.Adam(group, training.lr, betas, weight_decay=training.weight_decay)
            for group in (discriminating, drawing)
        ]

    def fit(self, job: Job) -> dict[str, Any]:
        """Train on the chosen images; saves a grid of samples after each epoch."""
        if self.choices.images == "all":
            job.data.train_on("labelled", "unlabelled")
        self._folder = job.folder
        return super().fit(job)

    def discriminate(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
        """The log odds that each image is real."""
        deepest = self.encoder(image)[-1]
        logit: Tensor = self.judgement(deepest.flatten(1))
        return logit[:, 0].float()

    def training_step(self, batch: Batch, index: int) -> None:
        """A step of the discriminator, then one of the generator on the same generated images."""
        image = batch["image"]
        random = self.random("latent", self.global_step)
        drawn = self.generator(self.latents(len(image), random))
        optimizers: Any = self.optimizers()
        discriminating, drawing = optimizers
        on_real = self.discriminate(image)
        with unchanged_statistics(self.encoder):
            on_drawn = self.discriminate(drawn.detach())
        real_loss = towards(on_real, 1 - self.choices.smoothing)
        discriminator_loss = real_loss + towards(on_drawn, 0.0)
        self._step(discriminating, discriminator_loss)
        self.toggle_optimizer(drawing)
        with unchanged_statistics(self.encoder):
            generator_loss = towards(self.discriminate(drawn), 1.0)
        self._step(drawing, generator_loss)
        self.untoggle_optimizer(drawing)
        self.average.update_parameters(self.generator)
        curves = {
            "train_loss": discriminator_loss + generator_loss,
            "discriminator_loss": discriminator_loss,
            "generator_loss": generator_loss,
            "D(x)": on_real.sigmoid().mean(),
            "D(G(z))": on_drawn.sigmoid().mean(),
        }
        detached = {name: value.detach() for name, value in curves.items()}
        self.log_dict(detached, on_step=False, on_epoch=True, batch_size=len(image))

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def latents(self, count: int, random: torch.Generator) -> Float[Tensor, "B D"]:
        """Random latent vectors from the standard normal distribution."""
        shape = (count, self.choices.latent)
        return torch.randn(shape, generator=random, device=self.device)

    @torch.no_grad()
    def decode(self, latent: Float[Tensor, "B D"]) -> Float[Tensor, "B C H W"]:
        """The images that the averaged generator makes of latent vectors, each independent of the
        others.
        """
        was_training = self.average.training
        self.average.eval()
        images = torch.cat([self.average(part) for part in torch.split(latent, BATCH)])
        self.average.train(was_training)
        return images

    def generated(self, count: int, purpose: str = "samples") -> Float[Tensor, "B C H W"]:
        """`count` generated images as fractions (0 to 1); the same ones each time for a purpose."""
        return self.decode(self.latents(count, self.random(purpose)))

    def on_train_epoch_end(self) -> None:
        """Save the grid of samples, which uses the same latent vectors in each epoch."""
        if self._folder is not None:
            save_samples(self.generated(GRID, "grid"), self._folder.pictures, self.current_epoch)

    def tested(self, job: Job) -> dict[str, Any]:
        """Save pictures: samples over the epochs, and interpolations. Returns the generator's
        parameters.
        """
        self.to(job.machine.device).eval()
        place = job.folder.pictures
        last = save_samples(self.generated(GRID, "grid"), place, self.training_choices.epochs - 1)
        save_animation(place)
        save_interpolation(self.decode, self.latents, self.random("interpolation"), place)
        if job.log:
            job.log.picture("samples", last, "generated images of the last epoch")
        return {"cost_generator_parameters": sum(p.numel() for p in self.generator.parameters())}


def moving_average(share: float) -> Callable[[Any, Any, Any], None]:
    """An update for averaged values that keeps `share` of the average, and less in the first steps.

    After n updates it keeps at most (1 + n) / (10 + n), so that short runs forget their start.
    """

    def move(averaged: Any, current: Any, updates: Any) -> None:
        stays = min(share, (1 + int(updates)) / (10 + int(updates)))
        get_ema_multi_avg_fn(stays)(averaged, current, updates)  # type: ignore[no-untyped-call]

    return move


def towards(logit: Float[Tensor, " B"], target: float) -> Float[Tensor, ""]:
    """The mean cross entropy of log odds when the target probability of being real is `target`."""
    return F.binary_cross_entropy_with_logits(logit, torch.full_like(logit, target))


def deepest_length(encoder: Encoder, size: int) -> int:
    """How many values the last output of an encoder has for an image of `size` pixels a side."""
    shape = (2, encoder.channels, size, size)
    device = next(encoder.parameters()).device
    was_training = encoder.training
    with torch.no_grad():
        deepest = encoder.eval()(torch.zeros(shape, device=device))[-1]
    encoder.train(was_training)
    return int(deepest[0].numel())


@contextmanager
def unchanged_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, batches are normalised by their own statistics and the running ones do not change."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

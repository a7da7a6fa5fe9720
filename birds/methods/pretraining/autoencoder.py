"""Autoencoders: restore unlabelled images from corrupted ones.

`noise` (salt and pepper) and `hidden` (patches) set the corruption; `kl` makes the deepest map a
distribution with a KL term. Plain, denoising, masked and variational autoencoders are settings of
these. With `skips=dropout`, each training image loses all its skip connections with probability
`skip_drop`. Validation is then the mean of the losses with and without them, because the loss with
them alone would stop falling as soon as they copy the image.

Variational: Kingma and Welling (2014, arXiv:1312.6114); denoising after Im et al. (2017,
arXiv:1511.06406), the KL term's warm-up after Sonderby et al. (2016, arXiv:1602.02282), free bits
after Kingma et al. (2016, arXiv:1606.04934).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from birds.core.parts import options_of
from birds.core.spec import Choices, RunSpec
from birds.data.module import Batch
from birds.encoders import seeded_encoder, sketched_encoder
from birds.methods import Job
from birds.methods.compiling import compile_where_it_pays
from birds.methods.corruption import GREY, hidden_patches, salt_and_pepper
from birds.methods.decoder import Decoder
from birds.methods.gradient import GradientPretraining
from birds.methods.pictures import save_reconstructions
from birds.metrics.reconstruction import photo_scores, reconstruction_metrics

LARGEST = 8.0  # limit of a log-variance, in both directions: beyond it exp() is not useful


class Passage(NamedTuple):
    """Images (B, C, H, W) that passed the autoencoder: the original, the encoder's input, the
    output.

    `cost` is the KL divergence of each latent value; None if the latent has no KL term.
    """

    image: Float[Tensor, "B C H W"]
    shown: Float[Tensor, "B C H W"]
    restored: Float[Tensor, "B C H W"]
    cost: Float[Tensor, "B D h w"] | None = None


class Autoencoder(GradientPretraining):
    """An encoder with maps and the decoder that restores images from them.

    Args:
        spec: the pretraining run.
        steps_per_epoch: for the length of the schedule.
        after: the pretraining whose encoder it starts from, if any.
    """

    class Options(Choices):
        """The corruption, the skip connections, and the KL term of the latent.

        noise: the fraction of pixels replaced, 0 to 1. hidden: the fraction of patches hidden;
        patch: the side of a patch in pixels. loss: over all pixels or only over those that were
        changed. kl: the weight of the KL divergence of a latent value in nats, 0 for a plain
        latent; kl_warmup: the share of training over which it rises; free_bits: nats of each value
        that cost nothing. skips: plain, dropout, gated or narrow; skip_drop: the probability that
        an image loses its skip connections (dropout); skip_channels: how many channels are left
        (narrow).
        """

        noise: Annotated[float, Field(ge=0, le=1)] = 0.0
        hidden: Annotated[float, Field(ge=0, le=0.95)] = 0.0
        patch: Annotated[int, Field(ge=1, le=64)] = 16
        loss: Literal["all", "hidden"] = "all"
        kl: Annotated[float, Field(ge=0, le=10)] = 0.0
        kl_warmup: Annotated[float, Field(ge=0, le=1)] = 0.3
        free_bits: Annotated[float, Field(ge=0, le=10)] = 0.05
        skips: Literal["plain", "dropout", "gated", "narrow"] = "dropout"
        skip_drop: Annotated[float, Field(ge=0, le=1)] = 0.5
        skip_channels: Annotated[int, Field(ge=1)] = 4

        @model_validator(mode="before")
        @classmethod
        def _unread_options_are_defaults(cls, values: Any) -> Any:
            """Remove options that these choices do not use, so that equal runs have one key."""
            unread = set()
            if not values.get("hidden"):
                unread |= {"patch"}
            if not values.get("hidden") and not values.get("noise"):
                unread |= {"loss"}
            if not values.get("kl"):
                unread |= {"kl_warmup", "free_bits"}
            skips = values.get("skips", "dropout")
            if skips != "dropout":
                unread |= {"skip_drop"}
            if skips != "narrow":
                unread |= {"skip_channels"}
            return {name: value for name, value in values.items() if name not in unread}

        @model_validator(mode="after")
        def _the_latent_is_used(self) -> Self:
            if self.kl and (self.skips != "dropout" or self.skip_drop == 0):
                asked = f"skips={self.skips}" if self.skips != "dropout" else "skip_drop=0"
                raise ValueError(
                    f"{asked}: skip connections that are always active bypass the latent, so a "
                    "variational autoencoder would learn to ignore it; choose skips=dropout with "
                    "skip_drop above 0"
                )
            return self

    def __init__(self, spec: RunSpec, steps_per_epoch: int, after: Any = None) -> None:
        super().__init__()
        self.spec = spec
        self.steps_per_epoch = steps_per_epoch
        self.choices: Any = options_of("pretraining", spec.method)
        self.encoder = seeded_encoder(spec)
        self.decoder = Decoder(self.encoder, self.choices.skips, self.choices.skip_channels)
        if self.choices.kl:
            width = self.encoder.map_widths[-1]
            self.mean = nn.Conv2d(width, width, 1)
            self.log_variance = nn.Conv2d(width, width, 1)
        if after is not None:
            self.encoder.load_state_dict(after.encoder.state_dict())
        self._scores: dict[str, list[Tensor]] = {}

    @classmethod
    def check(cls, options: Any, spec: RunSpec) -> None:
        """Raise ValueError for patches that do not divide the image, or an encoder without maps."""
        super().check(options, spec)
        size, patch = spec.image.size, options.patch
        if options.hidden and size % patch:
            fits = max(side for side in range(1, patch) if size % side == 0)
            raise ValueError(
                f"patch={patch}: images of {size} px do not divide into such; choose {fits}"
            )
        if len(sketched_encoder(spec.encoder, spec.image).map_widths) < 2:
            raise ValueError(
                f"pretraining={spec.variant} restores images from maps, and "
                f"encoder={spec.encoder.name} has fewer than two; choose pretraining=simclr or an "
                "encoder with maps"
            )

    def before_fit(self, job: Job) -> bool:
        """Compile the encoder if that is faster; returns whether it was compiled."""
        return compile_where_it_pays(self.encoder, job)

    def corrupt(self, image: Tensor, random: torch.Generator) -> Float[Tensor, "B C H W"]:
        """The encoder's input: the image with salt and pepper, then with grey patches."""
        shown = image
        if self.choices.noise:
            shown = salt_and_pepper(image, self.choices.noise, random)
        if self.choices.hidden:
            mask = hidden_patches(image, self.choices.hidden, self.choices.patch, random)
            shown = shown.masked_fill(mask, GREY)
        return shown

    def code(self, deepest: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The decoder's version of the deepest map, and its KL cost, None without `kl`.

        With `kl` it is a random draw by reparametrisation in training, and the mean in evaluation.
        """
        if not self.choices.kl:
            return deepest, None
        mean = self.mean(deepest).float()
        log_variance = self.log_variance(deepest).float().clamp(-LARGEST, LARGEST)
        cost = kl_divergence(mean, log_variance)
        if not self.training:
            return mean, cost
        return mean + (0.5 * log_variance).exp() * normal_like(mean, random), cost

    def latent(self, image: Tensor) -> Tensor:
        """The deepest map, or with `kl` the latent's mean, averaged over positions: (B, D)."""
        deepest = self.encoder.maps(self.encoder(image))[-1]
        return self.code(deepest, torch.Generator(image.device))[0].float().mean((2, 3))

    def ways(self, image: Tensor, random: torch.Generator, *keeps: Tensor | None) -> list[Passage]:
        """One passage for each mask of `keeps`, (B,), which says which images keep their skip
        connections.
        """
        shown = self.corrupt(image, random)
        *fine, deepest = self.encoder.maps(self.encoder(shown))
        code, cost = self.code(deepest, random)
        return [Passage(image, shown, self.decoder([*fine, code], keep), cost) for keep in keeps]

    def drawn(self, image: Tensor, random: torch.Generator) -> Tensor | None:
        """Images decoded from random latents of the prior; None without `kl`."""
        if not self.choices.kl:
            return None
        none = torch.zeros(len(image), dtype=torch.bool, device=image.device)
        *fine, deepest = self.encoder.maps(self.encoder(image))
        restored: Tensor = self.decoder([*fine, normal_like(deepest.float(), random)], none)
        return restored

    def loss(self, passage: Passage, progress: float = 1.0) -> Float[Tensor, ""]:
        """The squared error over all or the changed pixels, plus the weighted KL cost of the
        latent.

        `progress` is the finished share of the training, 0 to 1.
        """
        error = squared_error(passage, only_changed=self.choices.loss == "hidden")
        if passage.cost is None:
            return error
        warmup = self.choices.kl_warmup
        weight = self.choices.kl * min(1.0, progress / warmup if warmup else 1.0)
        total: Tensor = error + weight * with_free_bits(passage.cost, self.choices.free_bits)
        return total

    def training_loss(self, image: Tensor, random: torch.Generator, progress: float) -> Tensor:
        """The loss on these images when the share `progress` (0 to 1) of training is finished."""
        keep = None
        if self.choices.skips == "dropout":
            draw = torch.rand(len(image), generator=random, device=image.device)
            keep = draw >= self.choices.skip_drop
        return self.loss(self.ways(image, random, keep)[0], progress)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        progress = self.global_step / (self.training_choices.epochs * self.steps_per_epoch)
        random = self.random("corrupt", self.global_step)
        loss = self.training_loss(batch["image"], random, progress)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["image"]))
        return loss

    def _with_and_without_skips(self, image: Tensor, index: int) -> dict[str, Passage]:
        none = torch.zeros(len(image), dtype=torch.bool, device=image.device)
        ways = self.ways(image, self.random("evaluate", index), None, none)
        return dict(zip(("", "without_skips_"), ways, strict=True))

    def validation_step(self, batch: Batch, index: int) -> None:
        passages = self._with_and_without_skips(batch["image"], index)
        losses = {name: self.loss(passage) for name, passage in passages.items()}
        loss = losses[""]
        if self.choices.skips == "dropout":
            loss = sum(losses.values()) / 2  # type: ignore[assignment]
        named = {"valid_loss": loss, "valid_loss_without_skips": losses["without_skips_"]}
        if (cost := passages[""].cost) is not None:
            named["valid_latent_cost"] = cost.mean()
        self.log_dict(named, batch_size=len(batch["image"]))

    def on_test_epoch_start(self) -> None:
        self._scores = {}

    def test_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        part = ("test", "valid")[dataloader_idx]
        for name, passage in self._with_and_without_skips(batch["image"], index).items():
            scores = photo_scores(passage.restored, batch["image"])
            self._scores.setdefault(f"{part}_{name}", []).append(scores.cpu())

    def tested(self, job: Job) -> dict[str, Any]:
        """Reconstruction metrics of the test and validation images; saves a picture of some of
        them.
        """
        path = save_reconstructions(self, job.data, job.folder.pictures / "reconstructions.png")
        if job.log:
            job.log.picture("reconstructions", path, "shown, restored, restored without skips")
        metrics: dict[str, Any] = {}
        for prefix, scores in self._scores.items():
            metrics |= reconstruction_metrics(torch.cat(scores), prefix=prefix)
        return metrics

    def forward_for_cost(self, image: Tensor) -> Tensor:
        """The output of the decoder for these images."""
        restored: Tensor = self.decoder(self.encoder.maps(self.encoder(image)))
        return restored


def squared_error(passage: Passage, *, only_changed: bool) -> Float[Tensor, ""]:
    """The mean squared error of images as fractions, over all pixels or only over changed ones."""
    if not only_changed:
        return F.mse_loss(passage.restored, passage.image)
    changed = (passage.shown != passage.image).any(1, keepdim=True).expand_as(passage.image)
    error = F.mse_loss(passage.restored, passage.image, reduction="none")
    return (error * changed).sum() / changed.sum().clamp(min=1)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The KL divergence of each normal value from the standard normal distribution, in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def with_free_bits(cost: Float[Tensor, "B D h w"], free_bits: float) -> Float[Tensor, ""]:
    """The mean KL cost per latent value in nats; each channel's mean counts as at least
    `free_bits`.
    """
    return cost.mean((0, 2, 3)).clamp(min=free_bits).mean()


def normal_like(values: Tensor, random: torch.Generator) -> Tensor:
    """Standard normal values of the same shape."""
    return torch.randn(values.shape, generator=random, device=values.device)

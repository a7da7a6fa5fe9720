"""Pretraining: an autoencoder restores unlabelled photos from what its pretext leaves of them.

With `skips=dropout` each training photo loses all its skip connections with probability
`skip_drop`, and validation is the mean of the losses with and without them: a loss with the skips
alone would stop as soon as copying works.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

from birds.core.randomness import stream_seed
from birds.core.spec import PretrainSpec
from birds.data.module import Batch
from birds.encoders import build_encoder
from birds.encoders.unet import UNet
from birds.methods.pretraining import Passage, build_pretext
from birds.methods.schedule import optimizer_and_schedule
from birds.metrics.reconstruction import photo_scores, reconstruction_metrics


class Reconstruct(L.LightningModule):
    """A U-Net and its pretext.

    Args:
        spec: the pretraining run.
        steps_per_epoch: for the length of the schedule.
    """

    def __init__(self, spec: PretrainSpec, steps_per_epoch: int) -> None:
        super().__init__()
        self.spec = spec
        self.steps_per_epoch = steps_per_epoch
        torch.manual_seed(stream_seed(spec.seed, "encoder"))
        self.unet = UNet(build_encoder(spec.encoder), spec.skips, spec.skip_channels)
        self.pretext = build_pretext(spec.pretext, spec.encoder.widths[-1])
        self._scores: dict[str, list[Tensor]] = {}

    def _random(self, purpose: str, *position: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(
            stream_seed(self.spec.seed, purpose, *position)
        )

    def ways(
        self, photo: Float[Tensor, "B 3 H W"], random: torch.Generator, *keeps: Tensor | None
    ) -> list[Passage]:
        """The photo's way through, for each of `keeps`, (B,): which photos have their skip
        connections.
        """
        shown = self.pretext.corrupt(photo, random)
        *fine, deepest = self.unet.encoder(shown)
        latent, cost = self.pretext.latent(deepest, random)
        return [
            Passage(photo, shown, self.unet.decode([*fine, latent], keep), cost) for keep in keeps
        ]

    def training_loss(
        self, photo: Float[Tensor, "B 3 H W"], random: torch.Generator, progress: float
    ) -> Float[Tensor, ""]:
        """The pretext's loss on these photos when the share `progress` of training is over."""
        keep = None
        if self.spec.skips == "dropout":
            keep = (
                torch.rand(len(photo), generator=random, device=photo.device) >= self.spec.skip_drop
            )
        return self.pretext.loss(self.ways(photo, random, keep)[0], progress)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        progress = self.global_step / (self.spec.training.epochs * self.steps_per_epoch)
        loss = self.training_loss(
            batch["photo"], self._random("corrupt", self.global_step), progress
        )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["photo"]))
        return loss

    def _with_and_without_skips(self, photo: Tensor, index: int) -> dict[str, Passage]:
        none = torch.zeros(len(photo), dtype=torch.bool, device=photo.device)
        ways = self.ways(photo, self._random("evaluate", index), None, none)
        return dict(zip(("", "without_skips_"), ways, strict=True))

    def validation_step(self, batch: Batch, index: int) -> None:
        passages = self._with_and_without_skips(batch["photo"], index)
        losses = {name: self.pretext.loss(passage) for name, passage in passages.items()}
        loss = sum(losses.values()) / 2 if self.spec.skips == "dropout" else losses[""]
        named = {"valid_loss": loss, "valid_loss_without_skips": losses["without_skips_"]}
        if (cost := passages[""].cost) is not None:
            named["valid_latent_cost"] = cost.mean()
        self.log_dict(named, batch_size=len(batch["photo"]))

    def on_test_epoch_start(self) -> None:
        self._scores = {}

    def test_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        part = ("test", "valid")[dataloader_idx]
        for name, passage in self._with_and_without_skips(batch["photo"], index).items():
            scores = photo_scores(passage.restored, batch["photo"])
            self._scores.setdefault(f"{part}_{name}", []).append(scores.cpu())

    def tested(self) -> dict[str, Any]:
        """The reconstruction metrics of the test and validation photos of the last test."""
        metrics: dict[str, Any] = {}
        for prefix, scores in self._scores.items():
            metrics |= reconstruction_metrics(torch.cat(scores), prefix=prefix)
        return metrics

    def configure_optimizers(self) -> Any:
        return optimizer_and_schedule(
            [(1.0, list(self.parameters()))], self.spec.training, self.steps_per_epoch
        )

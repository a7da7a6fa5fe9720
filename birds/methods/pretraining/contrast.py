"""Contrastive pretraining: an encoder learns which two looks are of one unlabelled photo, without a
decoder.

What is contrasted is a projection of the features that a head would see; the projection is thrown
away afterwards. A photo of an epoch, already in its own look, is looked at twice more; the looks
are a function of (seed, step, place).
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor, nn

from birds.core.randomness import stream_seed
from birds.core.spec import PretrainSpec
from birds.data.augment import augment, view_parameters
from birds.data.module import Batch
from birds.encoders import build_encoder
from birds.methods.classify.head import pooled
from birds.methods.pretraining.simclr import contrast, partners, similarities
from birds.methods.schedule import optimizer_and_schedule

HIDDEN, PROJECTED = 256, 64


class Contrast(L.LightningModule):
    """An encoder and its projection.

    Args:
        spec: the pretraining run; its pretext's options are `temperature` and the `strength` of the
            looks.
        steps_per_epoch: for the length of the schedule.
    """

    def __init__(self, spec: PretrainSpec, steps_per_epoch: int) -> None:
        super().__init__()
        self.spec = spec
        self.steps_per_epoch = steps_per_epoch
        self.temperature, self.strength = (
            float(spec.pretext.options[name]) for name in ("temperature", "strength")
        )
        torch.manual_seed(stream_seed(spec.seed, "encoder"))
        self.encoder = build_encoder(spec.encoder)
        features = 2 * sum(spec.encoder.widths)
        self.projection = nn.Sequential(
            nn.BatchNorm1d(features),
            nn.Linear(features, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, PROJECTED),
        )
        self._scores: dict[str, list[Tensor]] = {}

    def forward(self, photo: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """What is contrasted of each photo."""
        projected: Tensor = self.projection(pooled(self.encoder(photo)))
        return projected

    def _two_looks(
        self, photo: Float[Tensor, "B 3 H W"], purpose: str, step: int
    ) -> tuple[Tensor, Tensor]:
        seed = stream_seed(self.spec.seed, purpose)
        tables = [view_parameters(seed, 2 * step + k, len(photo), self.strength) for k in range(2)]
        first, second = (
            self(augment(photo, torch.from_numpy(table).to(photo.device))) for table in tables
        )
        return first, second

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss = contrast(
            *self._two_looks(batch["photo"], "contrast", self.global_step), self.temperature
        )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["photo"]))
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        loss = contrast(*self._two_looks(batch["photo"], "evaluate", index), self.temperature)
        self.log("valid_loss", loss, batch_size=len(batch["photo"]))

    def on_test_epoch_start(self) -> None:
        self._scores = {}

    def test_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        looks = self._two_looks(batch["photo"], "evaluate", index)
        found = similarities(*looks).argmax(1) == partners(len(batch["photo"]), self.device)
        self._scores.setdefault(("test", "valid")[dataloader_idx], []).append(found.cpu())

    def tested(self) -> dict[str, Any]:
        """How often a look's partner is the most similar of its batch, on test and validation
        photos.
        """
        return {
            f"{part}_partner_found": torch.cat(found).double().mean().item()
            for part, found in self._scores.items()
        }

    def configure_optimizers(self) -> Any:
        return optimizer_and_schedule(
            [(1.0, list(self.parameters()))], self.spec.training, self.steps_per_epoch
        )

"""Classification: one encoder and one head, from scratch, frozen or fine-tuned.

A frozen encoder stays in evaluation mode and gets no gradient: weights and BatchNorm statistics are bit-equal
afterwards. Batches may then hold features in place of photos; the numbers are the same.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from birds.data.module import Batch, BirdsDataModule
from birds.models import build_encoder
from birds.models.head import Head, pooled
from birds.randomness import stream_seed
from birds.spec import ClassifySpec
from birds.tasks.schedule import optimizer_and_schedule

Predictions = dict[str, dict[str, Tensor]]


class Classify(L.LightningModule):
    """A classifier of photos.

    Args:
        spec: the classifier's run.
        species: how many species there are.
        steps_per_epoch: for the length of the schedule.
    """

    def __init__(self, spec: ClassifySpec, species: int, steps_per_epoch: int) -> None:
        super().__init__()
        self.spec = spec
        self.steps_per_epoch = steps_per_epoch
        torch.manual_seed(stream_seed(spec.seed, "encoder"))
        self.encoder = build_encoder(spec.encoder)
        torch.manual_seed(stream_seed(spec.seed, "head"))
        self.head = Head(2 * sum(spec.encoder.widths), species, spec.dropout)
        self.frozen = spec.transfer == "frozen"
        if self.frozen:
            self.encoder.requires_grad_(False)
            self.encoder.eval()  # Lightning trains modules in the mode they come in
        self._predicted: dict[str, list[dict[str, Tensor]]] = {}

    def train(self, mode: bool = True) -> Classify:
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def features(self, photo: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        """What the head gets to see of each photo."""
        return pooled(self.encoder(photo))

    @torch.no_grad()
    def encode_once(self, data: BirdsDataModule, device: torch.device) -> None:
        """Let the frozen encoder see every view once; from then on batches of `data` hold features."""
        self.to(device).encoder.eval()
        data.use_features(self.features, device)

    def forward(self, photo: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B S"]:
        """Logits of photos as fractions."""
        logits: Tensor = self.head(self.features(photo))
        return logits.float()

    def _logits(self, batch: Batch) -> Float[Tensor, "B S"]:
        logits: Tensor = self.head(batch["feature"]) if "feature" in batch else self(batch["photo"])
        return logits.float()

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(stream_seed(self.spec.seed, "dropout", self.current_epoch))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss = F.cross_entropy(self._logits(batch), batch["label"], label_smoothing=self.spec.label_smoothing)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["label"]))
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        logits, label = self._logits(batch), batch["label"]
        accuracy = (logits.argmax(1) == label).float().mean()
        self.log_dict({"valid_loss": F.cross_entropy(logits, label), "valid_accuracy": accuracy}, batch_size=len(label))

    def on_test_epoch_start(self) -> None:
        self._predicted = {}

    def test_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        part = ("test", "valid")[dataloader_idx]
        kept = {"logits": self._logits(batch), "label": batch["label"], "row": batch["row"]}
        self._predicted.setdefault(part, []).append({name: value.cpu() for name, value in kept.items()})

    def tested(self) -> Predictions:
        """logits (N, S), label (N,) and row (N,) of the test and validation photos of the last test."""
        return {
            part: {name: torch.cat([batch[name] for batch in batches]) for name in ("logits", "label", "row")}
            for part, batches in self._predicted.items()
        }

    def configure_optimizers(self) -> Any:
        return optimizer_and_schedule(self.parameters(), self.spec.training, self.steps_per_epoch)

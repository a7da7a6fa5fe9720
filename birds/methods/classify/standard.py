"""Classification: one encoder and one head, from scratch, frozen or fine-tuned.

A frozen encoder stays in evaluation mode and gets no gradient: weights and BatchNorm statistics are
bit-equal afterwards. Batches may then hold features in place of photos; the numbers are the same.
Fine-tuning can be told to change less (`spec.tuning`): deeper levels faster than finer ones,
BatchNorm statistics as pretrained, weights averaged over steps, and learn from unlabelled photos
beside the labelled ones (`birds.methods.classify.beside`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from birds.core.randomness import stream_seed
from birds.core.spec import ClassifySpec
from birds.data.module import NOISY, Batch, BirdsDataModule
from birds.encoders import build_encoder
from birds.methods.classify.beside import LOSSES
from birds.methods.classify.head import Head, pooled
from birds.methods.classify.robustness import hits_under_noise
from birds.methods.pretraining.autoencoder import Reconstruct
from birds.methods.schedule import Groups, optimizer_and_schedule

Predictions = dict[str, dict[str, Tensor]]
BESIDE = "beside."  # begins the names of weights that only joint training has


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
        self.beside: Reconstruct | Head | None = None
        self.clusters: Tensor
        self.register_buffer("clusters", None, persistent=False)
        self.frozen = spec.frozen
        if self.frozen:
            self.encoder.requires_grad_(False)
        self.train()  # Lightning trains modules in the mode they come in
        self._averaging = EMAWeightAveraging(decay=spec.tuning.ema) if spec.tuning.ema else None
        self._predicted: dict[str, list[dict[str, Tensor]]] = {}
        self._hits: list[Tensor] = []

    def train(self, mode: bool = True) -> Classify:
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        elif self.spec.tuning.batchnorm == "frozen":
            for norm in _norms(self.encoder):
                norm.eval()
        return self

    def start_from(self, pretraining: Mapping[str, Tensor]) -> None:
        """Take over the encoder from the weights of a pretraining; for joint training all of them,
        beside the head.
        """
        assert self.spec.pretrained is not None
        own = {name.removeprefix("unet."): value for name, value in pretraining.items()}
        prefix = "encoder."
        self.encoder.load_state_dict(
            {n.removeprefix(prefix): v for n, v in own.items() if n.startswith(prefix)}
        )
        if self.spec.transfer == "joint":
            source = Reconstruct(self.spec.pretrained, self.steps_per_epoch)
            source.load_state_dict(pretraining)
            source.unet.encoder = self.encoder
            self.beside = source

    def follow(self, clusters: Int[Tensor, " N"]) -> None:
        """Learn beside the labels which cluster each photo is in, by its row; -1 where that is of
        no matter.
        """
        torch.manual_seed(stream_seed(self.spec.seed, "clusters"))
        self.beside = Head(self.head.linear.in_features, int(clusters.max()) + 1, self.spec.dropout)
        self.clusters = clusters

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
        loss = F.cross_entropy(
            self._logits(batch), batch["label"], label_smoothing=self.spec.label_smoothing
        )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["label"]))
        if self.spec.transfer not in LOSSES:
            return loss
        with _untracked(self.encoder, self.head):
            beside = LOSSES[self.spec.transfer](self, self.trainer.datamodule)  # type: ignore[attr-defined]
        self.log(
            "train_beside_loss",
            beside,
            on_step=False,
            on_epoch=True,
            batch_size=len(batch["label"]),
        )
        return loss + self.spec.tuning.joint_weight * beside

    def validation_step(self, batch: Batch, index: int) -> None:
        logits, label = self._logits(batch), batch["label"]
        accuracy = (logits.argmax(1) == label).float().mean()
        self.log_dict(
            {"valid_loss": F.cross_entropy(logits, label), "valid_accuracy": accuracy},
            batch_size=len(label),
        )

    def on_test_epoch_start(self) -> None:
        self._predicted, self._hits = {}, []

    def test_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        part = ("test", "valid", NOISY)[dataloader_idx]
        if part == NOISY:
            self._hits.append(hits_under_noise(self, batch, self.spec.seed).cpu())
            return
        kept = {"logits": self._logits(batch), "label": batch["label"], "row": batch["row"]}
        self._predicted.setdefault(part, []).append(
            {name: value.cpu() for name, value in kept.items()}
        )

    def tested(self) -> Predictions:
        """logits (N, S), label (N,) and row (N,) of the test and validation photos of the last
        test.
        """
        return {
            part: {
                name: torch.cat([batch[name] for batch in batches])
                for name in ("logits", "label", "row")
            }
            for part, batches in self._predicted.items()
        }

    def hits_under_noise(self) -> Bool[Tensor, "N L"]:
        """Whether each photo of the last test was told at each fraction of salt and pepper, none
        included.
        """
        test = self.tested()["test"]
        clean = test["logits"].argmax(1) == test["label"]
        return torch.cat([clean[:, None], torch.cat(self._hits)], dim=1)

    def configure_callbacks(self) -> list[Callback]:
        return [self._averaging] if self._averaging else []

    def configure_optimizers(self) -> Any:
        return optimizer_and_schedule(
            self._learning_groups(), self.spec.training, self.steps_per_epoch
        )

    def _learning_groups(self) -> Groups:
        """Factor to the learning rate, and the parameters it is for; the head first."""
        depth, groups = len(self.spec.encoder.widths), dict[float, list[nn.Parameter]]()
        for name, parameter in self.named_parameters():
            level = int(name.split(".")[2]) if name.startswith("encoder.levels.") else depth
            groups.setdefault(self.spec.tuning.lr_decay ** (depth - level), []).append(parameter)
        return sorted(groups.items(), key=lambda group: -group[0])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The best checkpoint, which has no optimizer in it, is the classifier alone, with its
        averaged weights.
        """
        if "optimizer_states" in checkpoint:
            return
        if self._averaging:
            self._averaging.on_save_checkpoint(self.trainer, self, checkpoint)
            del checkpoint["current_model_state"], checkpoint["averaging_state"]
        weights = checkpoint["state_dict"]
        checkpoint["state_dict"] = {
            name: value for name, value in weights.items() if not name.startswith(BESIDE)
        }

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Weights of a classifier alone end its joint training."""
        if not any(name.startswith(BESIDE) for name in state_dict):
            self.beside = None
        return super().load_state_dict(state_dict, strict, assign)


def _norms(*parts: nn.Module) -> list[_BatchNorm]:
    return [module for part in parts for module in part.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def _untracked(*parts: nn.Module) -> Iterator[None]:
    """Within, BatchNorm normalises by the batch as it does in training, but its running statistics
    stay.
    """
    for norm in _norms(*parts):
        norm.track_running_stats = False
    yield
    for norm in _norms(*parts):
        norm.track_running_stats = True

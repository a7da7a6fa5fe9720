"""A classifier that is trained by gradient descent: one encoder and one head.

A frozen encoder stays in evaluation mode and gets no gradient: its weights and BatchNorm statistics
do not change at all. Batches may then contain features instead of images, with equal results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from birds.core.checkpoint import saved_weights
from birds.core.parts import options_of
from birds.core.randomness import stream_seed
from birds.core.spec import RunSpec
from birds.core.store import RunFolder
from birds.data.module import NOISY, Batch
from birds.encoders import seeded_encoder
from birds.methods import Job
from birds.methods.classify._balance import class_weights
from birds.methods.classify._predictions import Predictions, measured_predictions
from birds.methods.classify._robustness import hits_under_noise
from birds.methods.classify.heads import create_head
from birds.methods.classify.losses import create_loss
from birds.methods.compiling import compile_where_it_pays
from birds.methods.gradient import GradientMethod
from birds.methods.schedule import Groups

BESIDE = "beside."  # the names of the extra loss's weights begin with this


class GradientClassifier(GradientMethod):
    """A classifier of images.

    Args:
        spec: the classifier's run.
        classes: the names of the classes.
        steps_per_epoch: for the length of the schedule.
        job: the run's data and the runs it builds on; None if the weights will be loaded.
    """

    def __init__(
        self, spec: RunSpec, classes: Sequence[str], steps_per_epoch: int, job: Job | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.classes = tuple(classes)
        self.steps_per_epoch = steps_per_epoch
        self.choices: Any = options_of("classifier", spec.method)
        self.encoder = seeded_encoder(spec)
        torch.manual_seed(stream_seed(spec.seed, "head"))
        self.head = create_head(self.choices.head, self.encoder.feature_dim, len(classes))
        self.beside: Any = None
        self._weight: Tensor | None = None
        self._freeze()
        if job is not None:
            if self.choices.start == "run":
                self.encoder.load_state_dict(job.given[0].encoder.state_dict())
            self.beside = create_loss(self.choices.extra_loss, self, job)
            if self.choices.balance != "none":
                label = job.data.label[job.data.rows["labelled"]]
                self._weight = torch.from_numpy(class_weights(label, len(classes))).float()
        self.train()  # Lightning keeps the mode in which it gets a module
        decay = self.choices.ema
        self._averaging = EMAWeightAveraging(decay=decay) if decay else None
        self._predicted: dict[str, list[dict[str, Tensor]]] = {}
        self._hits: list[Tensor] = []

    @classmethod
    def load(cls, spec: RunSpec, folder: RunFolder, classes: Sequence[str]) -> GradientClassifier:
        """The finished classifier in evaluation mode."""
        classifier = cls(spec, classes, 1)
        classifier.load_state_dict(saved_weights(folder))
        return classifier.eval()

    @property
    def head_alone(self) -> bool:
        """Whether only the head is trained and the encoder does not change."""
        return bool(self.choices.train == "head")

    def _freeze(self) -> None:
        groups = self.encoder.depth_groups()
        count = {"head": len(groups), "all": 0}.get(
            self.choices.train, max(0, len(groups) - self.choices.last_stages)
        )
        for group in groups[:count]:
            for parameter in group:
                parameter.requires_grad_(False)
        if self.head_alone:
            self.encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> GradientClassifier:
        """Training mode, except for what is frozen."""
        super().train(mode)
        if self.head_alone:
            self.encoder.eval()
            return self
        for norm in norms(self.encoder):
            is_frozen = not any(parameter.requires_grad for parameter in norm.parameters())
            if self.choices.batchnorm == "frozen" or is_frozen:
                norm.eval()
        return self

    def features(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """The features of each image, which are the input of the head."""
        return self.encoder.features(image)

    def latent(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        """The latent vectors of images, whose pixels are fractions (0 to 1)."""
        return self.encoder.latent_of(self.encoder(image))

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B S"]:
        """The logits of images, whose pixels are fractions (0 to 1)."""
        logits: Tensor = self.head(self.features(image))
        return logits.float()

    def _logits(self, batch: Batch) -> Float[Tensor, "B S"]:
        if "feature" in batch:
            logits: Tensor = self.head(batch["feature"])
            return logits.float()
        return self(batch["image"])  # type: ignore[no-any-return]

    def before_fit(self, job: Job) -> bool:
        """Compile the encoder if that is faster; if it is frozen, compute the features of all views
        instead.

        Returns whether the encoder was compiled.
        """
        if self.choices.balance == "sampling":
            job.data.balance()
        if not self.head_alone:
            return compile_where_it_pays(self.encoder, job)
        if job.runtime.features == "cached":
            self.to(job.machine.device).encoder.eval()
            with torch.no_grad():
                job.data.use_features(self.features, job.machine.device)
        return False

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(stream_seed(self.spec.seed, "dropout", self.current_epoch))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        count = len(batch["label"])
        loss = self._label_loss(self._logits(batch), batch["label"])
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=count)
        if self.beside is None:
            return loss
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        with untracked(self.encoder, self.head):
            beside: Tensor = self.beside.loss(self, data)
        self.log("train_beside_loss", beside, on_step=False, on_epoch=True, batch_size=count)
        total: Tensor = loss + self.beside.weight * beside
        return total

    def _label_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """The cross entropy of a training batch; with balance=weights its images are weighted."""
        smoothing = self.choices.label_smoothing
        if self._weight is None or self.choices.balance != "weights":
            return F.cross_entropy(logits, label, label_smoothing=smoothing)
        each = F.cross_entropy(logits, label, label_smoothing=smoothing, reduction="none")
        return (each * self._weight.to(label.device)[label]).mean()

    def _valid_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """The cross entropy of a validation batch.

        If classes are balanced, it is weighted as well, so that the kept epoch is the best in that
        sense.
        """
        if self._weight is None:
            return F.cross_entropy(logits, label)
        each = F.cross_entropy(logits, label, reduction="none")
        return (each * self._weight.to(label.device)[label]).mean()

    def validation_step(self, batch: Batch, index: int) -> None:
        logits, label = self._logits(batch), batch["label"]
        accuracy = (logits.argmax(1) == label).float().mean()
        values = {"valid_loss": self._valid_loss(logits, label), "valid_accuracy": accuracy}
        self.log_dict(values, batch_size=len(label))

    def on_test_epoch_start(self) -> None:
        self._predicted, self._hits = {}, []

    def test_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        part = self.trainer.datamodule.test_parts[dataloader_idx]  # type: ignore[attr-defined]
        self._watch.begin("noise" if part == NOISY else "test")
        if part == NOISY:
            levels, seed = self.spec.noise_levels, self.spec.data.seed
            self._hits.append(hits_under_noise(self, batch, levels, seed).cpu())
            return
        kept = {"logits": self._logits(batch), "label": batch["label"], "row": batch["row"]}
        on_cpu = {name: value.cpu() for name, value in kept.items()}
        self._predicted.setdefault(part, []).append(on_cpu)

    def predictions(self) -> Predictions:
        """The logits (N, S), label (N,) and row (N,) of each part of the last test."""
        found: Predictions = {}
        for part, batches in self._predicted.items():
            found[part] = {}
            for name in ("logits", "label", "row"):
                found[part][name] = torch.cat([batch[name] for batch in batches])
        return found

    def tested(self, job: Job) -> dict[str, Any]:
        """Metrics of every part. The predictions are saved in the run's folder."""
        hits = torch.cat(self._hits) if self._hits else None
        return measured_predictions(self.predictions(), hits, job)

    def configure_callbacks(self) -> list[Callback]:
        return [self._averaging] if self._averaging else []

    def learning_groups(self) -> Groups:
        """Pairs of a factor to the learning rate and its parameters, largest factor first."""
        stages = self.encoder.depth_groups()
        factor_of: dict[int, float] = {}
        for depth, stage in enumerate(stages):
            for parameter in stage:
                factor_of[id(parameter)] = self.choices.lr_decay ** (len(stages) - depth)
        groups: dict[float, list[nn.Parameter]] = {}
        for parameter in self.parameters():
            groups.setdefault(factor_of.get(id(parameter), 1.0), []).append(parameter)
        return sorted(groups.items(), key=lambda group: -group[0])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Reduce the best checkpoint, which has no optimizer state, to the classifier's averaged
        weights.

        Weights of the extra loss are left out.
        """
        if "optimizer_states" in checkpoint:
            return
        if self._averaging:
            self._averaging.on_save_checkpoint(self.trainer, self, checkpoint)
            del checkpoint["current_model_state"], checkpoint["averaging_state"]
        weights = checkpoint["state_dict"]
        kept = {name: value for name, value in weights.items() if not name.startswith(BESIDE)}
        checkpoint["state_dict"] = kept

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights; if they have none of the extra loss, the extra loss is removed."""
        if not any(name.startswith(BESIDE) for name in state_dict):
            self.beside = None
        return super().load_state_dict(state_dict, strict, assign)


def norms(*parts: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm layers of these modules."""
    found: list[_BatchNorm] = []
    for part in parts:
        found += [module for module in part.modules() if isinstance(module, _BatchNorm)]
    return found


@contextmanager
def untracked(*parts: nn.Module) -> Iterator[None]:
    """Inside, BatchNorm normalises by the batch, but does not update its running statistics."""
    tracking = [norm for norm in norms(*parts) if norm.track_running_stats]
    for norm in tracking:
        norm.track_running_stats = False
    yield
    for norm in tracking:
        norm.track_running_stats = True

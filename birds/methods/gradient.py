"""Methods that train by gradient descent; only this module uses Lightning's Trainer.

A method is a LightningModule with `training_step`, `validation_step`, `test_step` and
`configure_optimizers`, as users of Lightning expect. A method may also step by hand
(`automatic_optimization = False`, several optimizers); then it must clip and accumulate gradients
itself.
"""

from __future__ import annotations

import logging
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn

from birds.core.checkpoint import read_checkpoint, saved_weights
from birds.core.randomness import stream_seed
from birds.core.spec import RunSpec
from birds.core.store import RunFolder
from birds.encoders import reads_own_size, sketched_encoder
from birds.methods import Job
from birds.methods.callbacks import Curves, Stopping, keeping, stopped_early
from birds.methods.schedule import Groups, optimizer_and_schedule
from birds.metrics.cost import forward_flops, parameter_counts, peak_memory_mb


class GradientMethod(L.LightningModule):
    """A method that Lightning trains. Subclasses define the steps and what is tested.

    monitored: the validation value whose lowest epoch is kept; None keeps the last epoch.
    clip: the largest norm of a gradient.
    """

    monitored: ClassVar[str | None] = "valid_loss"
    clip: ClassVar[float | None] = 1.0
    spec: RunSpec
    steps_per_epoch: int

    @property
    def training_choices(self) -> Any:
        """The run's `Training`."""
        assert self.spec.training is not None
        return self.spec.training

    def random(self, purpose: str, *position: int) -> torch.Generator:
        """A random generator on the method's device for one purpose, seeded by the run's seed."""
        seed = stream_seed(self.spec.seed, purpose, *position)
        return torch.Generator(self.device).manual_seed(seed)

    @abstractmethod
    def training_step(self, batch: Any, index: int) -> Any:
        """The loss of a batch; None if the method steps its optimizers by hand."""

    def learning_groups(self) -> Groups:
        """Pairs of a factor to the learning rate and the parameters with this factor."""
        return [(1.0, list(self.parameters()))]

    def configure_optimizers(self) -> Any:
        """AdamW with linear warm-up and cosine decay."""
        return optimizer_and_schedule(
            self.learning_groups(), self.training_choices, self.steps_per_epoch
        )

    def before_fit(self, job: Job) -> bool:
        """Prepare the training, in its precision; returns whether code was compiled."""
        return False

    def fit(self, job: Job) -> dict[str, Any]:
        """Train to the end, from the last checkpoint if there is a complete one."""
        hush()
        curves = Curves(job.folder, self.training_choices, job.say, self.monitored, job.watch)
        trainer = self._new_trainer(job, curves)
        with trainer.precision_plugin.forward_context():
            compiled = self.before_fit(job)
        self._fit(trainer, job, curves)
        job.watch.begin("prepare")
        best = read_checkpoint(job.folder.checkpoint("best"))
        assert best is not None
        self.load_state_dict(best["state_dict"])
        self._tester = trainer
        seen = len(curves.rows) * job.data.images_per_epoch
        return {
            "epochs": len(curves.rows),
            "best_epoch": best["epoch"],
            "compiled": compiled,
            "accumulate": job.data.accumulate,
            "cost_seconds": curves.fit_seconds,
            "cost_images_per_second": seen / curves.train_seconds if curves.train_seconds else 0.0,
        }

    def measure(self, job: Job) -> dict[str, Any]:
        """Test with the best checkpoint if there is a `test_step`; returns metrics and costs."""
        if is_overridden("test_step", self):
            self._watch = job.watch
            self._tester.test(self, job.data, verbose=False)
        job.watch.begin("save")
        measured = self.tested(job)
        return measured | self.costs(job)

    def tested(self, job: Job) -> dict[str, Any]:
        """Metrics of the last test; predictions and pictures are saved in the run's folder."""
        return {}

    def forward_for_cost(self, image: Tensor) -> Any:
        """The forward pass that is counted as the cost of one image."""
        return self(image)

    def costs(self, job: Job) -> dict[str, Any]:
        """Parameters, floating-point operations per image, and peak memory."""
        self.to(job.machine.device).eval()
        image = job.spec.image
        shape = (image.channels, image.size, image.size)
        return {
            **parameter_counts(self),
            "cost_flops_per_image": forward_flops(self.forward_for_cost, shape, job.machine.device),
            **peak_memory_mb(job.machine.device),
        }

    def _new_trainer(self, job: Job, curves: Curves) -> L.Trainer:
        steps: dict[str, Any] = {}
        if self.automatic_optimization:
            steps["gradient_clip_val"] = self.clip
            steps["accumulate_grad_batches"] = job.data.accumulate
        kept = keeping(job.folder, self.training_choices, self.monitored)
        return L.Trainer(
            **job.machine.trainer_options(),
            **steps,
            max_epochs=self.training_choices.epochs,
            logger=job.log or False,
            log_every_n_steps=10,
            callbacks=[curves, *kept, Stopping(job.should_stop)],
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            plugins=[LightningEnvironment()],  # also under SLURM: this harness requeues runs
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=job.folder.path,
        )

    def _fit(self, trainer: L.Trainer, job: Job, curves: Curves) -> None:
        path = job.folder.checkpoint("last")
        best_is_whole = read_checkpoint(job.folder.checkpoint("best")) is not None
        last = read_checkpoint(path) if best_is_whole else None
        if last is not None and stopped_early(last):
            curves.load_state_dict(last["callbacks"]["Curves"])
            return
        resumed: dict[str, Any] = {"ckpt_path": path, "weights_only": True} if last else {}
        try:
            trainer.fit(self, job.data, **resumed)
        except BaseException as error:  # after Ctrl-C, Lightning raises SystemExit or another error
            if isinstance(error, SystemExit) or isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise


class GradientPretraining(GradientMethod):
    """A pretraining by gradient descent. It has an `encoder` and is loaded from its checkpoint."""

    encoder: Any

    def forward(self, image: Tensor) -> Any:
        """The encoder's outputs; pretrainings with further layers override this."""
        return self.encoder(image)

    @classmethod
    def section(cls, options: Any) -> str | None:
        """The section of a budget that sets how long it trains."""
        return "pretrain"

    @classmethod
    def check(cls, options: Any, spec: RunSpec) -> None:
        """Raise ValueError for an encoder that gradient descent cannot train."""
        if sketched_encoder(spec.encoder, spec.image).by_id:
            raise ValueError(
                f"encoder={spec.encoder.name} has only vectors and no network to train; choose a "
                "head that is fitted on frozen features, such as variant=Logistic"
            )
        if reads_own_size(spec):
            raise ValueError(
                f"pretraining={spec.variant} trains by gradient descent, and "
                f"encoder={spec.encoder.name} has nothing to train; choose pretraining=vocabulary, "
                "or another encoder"
            )

    @classmethod
    def load(cls, spec: RunSpec, folder: RunFolder, classes: Sequence[str] = ()) -> Any:
        """The finished pretraining. Raises UserError when its checkpoint is missing."""
        method: Any = cls(spec, 1)
        method.load_state_dict(saved_weights(folder))
        return method.eval()

    def latent(self, image: Tensor) -> Tensor:
        """The latent vectors (B, D) of images, whose pixels are fractions (0 to 1)."""
        vectors: Tensor = self.encoder.latent_of(self.encoder(image))
        return vectors


def hush() -> None:
    """Hide Lightning's notes and those of its warnings that are about deliberate choices here."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    about = ("does not have many workers", "smaller than the logging interval", "not empty")
    for words in (*about, "in eval mode"):
        warnings.filterwarnings("ignore", message=f".*{words}")


def frozen(module: nn.Module) -> nn.Module:
    """The module without gradients and in evaluation mode."""
    return module.requires_grad_(False).eval()

"""A training step: the harness against a bare loop on resident data, and that loop against its
convolutions alone.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from bench.paired import ROOT, Row, in_turn, ratio_row
from birds.core.machine import Machine, resolve
from birds.core.parts import part_class
from birds.core.spec import RunSpec
from birds.core.store import RunFolder
from birds.data.reopen import opened
from birds.launch.plan import Planned, plan_run
from birds.methods import Job, create_method
from birds.methods.compiling import PAYS, speedup

STEPS, HEAD_STEPS = 6, 60


def planned(*overrides: str) -> Planned:
    """The run that these overrides ask for, on the embedded birds."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return plan_run(compose("config", [*overrides, "tracking=none"]))


class Clock(Callback):
    """Seconds a photo of the last epoch, from its start to the end of its last step."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started, self.photos = time.perf_counter(), 0

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.photos += len(batch["label"])
        self.seconds = (time.perf_counter() - self.started) / self.photos


@dataclasses.dataclass
class Bench:
    """One task with its data, as `birds.train.run` puts them together."""

    job: Job
    task: Any

    @classmethod
    def of(cls, spec: RunSpec, asked: Planned, steps: int) -> Bench:
        """The task of a run, its epochs cut to one of so many steps; what it needs is untrained."""
        assert spec.training is not None
        short = spec.training.model_copy(update={"max_steps": steps, "epochs": 1})
        spec = spec.model_copy(update={"training": short})
        machine = resolve(asked.runtime)
        data, _ = opened(spec, asked.runtime)
        if machine.device.type == "cuda":
            data.keep_on(machine.device)
        given = tuple(
            part_class(needed.kind, needed.method.place)(needed, steps) for needed in spec.needs
        )
        folder = RunFolder(asked.runtime.runs_dir, spec)
        job = Job(spec, data, given, folder, machine, asked.runtime, print, lambda: False)
        return cls(job, create_method(job))

    @property
    def machine(self) -> Machine:
        """Where it trains."""
        return self.job.machine

    @property
    def batch(self) -> int:
        """Images a batch."""
        return int(self.job.data.batch_size)

    def harness(self) -> float:
        """Seconds a photo as the harness trains: gathered, augmented, logged, clipped."""
        clock = Clock()
        options: dict[str, Any] = {
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": False,
            "limit_val_batches": 0,
        }
        trainer = L.Trainer(
            **self.machine.trainer_options(),
            **options,
            max_epochs=1,
            callbacks=[clock],
            gradient_clip_val=1.0,
            enable_checkpointing=False,
            plugins=[LightningEnvironment()],
        )
        trainer.fit(self.task, self.job.data)
        return clock.seconds

    def resident(self) -> dict[str, Tensor]:
        """The first training batch, on the device and ready."""
        places = [(0, k) for k in range(self.batch)]
        batch = {
            name: value.to(self.machine.device)
            for name, value in self.job.data.batch("train", places).items()
        }
        return self.job.data.on_after_batch_transfer(batch, 0)

    def bare(self) -> Callable[[], float]:
        """Seconds a photo of a plain loop over one resident batch."""
        task, batch = self.task.to(self.machine.device).train(), self.resident()
        optimizer = torch.optim.AdamW(task.parameters(), lr=1e-4)

        def loop() -> float:
            started = time.perf_counter()
            for _ in range(STEPS):
                optimizer.zero_grad()
                with torch.autocast(
                    self.machine.device.type, torch.bfloat16, self.machine.precision == "bf16"
                ):
                    loss = self._loss(batch)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            loss.item()  # a GPU is done only now
            return (time.perf_counter() - started) / STEPS / self.batch

        return loop

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        image = batch["image"]
        if self.job.spec.stage == "classify":
            return F.cross_entropy(self.task(image), batch["label"])
        loss: Tensor = self.task.training_loss(image, torch.Generator(self.machine.device), 1.0)
        return loss

    def convolutions(self) -> Callable[[], float]:
        """Seconds a photo that the convolutions of a step take alone, both ways, in the step's
        precision.
        """
        calls, hooks = self._calls()
        with torch.no_grad():
            self._loss(self.resident())
        for hook in hooks:
            hook.remove()
        kind = torch.bfloat16 if self.machine.precision == "bf16" else torch.float32
        work = [_convolution(layer, shape, kind, self.machine.device) for layer, shape in calls]

        def alone() -> float:
            started = time.perf_counter()
            for _ in range(STEPS):
                for one in work:
                    last = one()
            last.sum().item()
            return (time.perf_counter() - started) / STEPS / self.batch

        return alone

    def _calls(self) -> tuple[list[tuple[nn.Conv2d, torch.Size]], list[Any]]:
        calls: list[tuple[nn.Conv2d, torch.Size]] = []
        layers = [layer for layer in self.task.modules() if isinstance(layer, nn.Conv2d)]
        hooks = [
            layer.register_forward_hook(
                lambda layer, given, out: calls.append((layer, given[0].shape))
            )
            for layer in layers
        ]
        return calls, hooks


def _convolution(
    layer: nn.Conv2d, shape: torch.Size, kind: torch.dtype, device: torch.device
) -> Callable[[], Tensor]:
    """One convolution and its two gradients; the first layer's input needs none."""
    last = torch.channels_last
    x = torch.rand(shape, device=device, dtype=kind).contiguous(memory_format=last)
    weight = layer.weight.detach().to(kind).contiguous(memory_format=last)
    out = F.conv2d(x, weight, padding=layer.padding)
    padding, first = list(layer.padding), shape[1] == 12

    def work() -> Tensor:
        F.conv2d(x, weight, padding=layer.padding)
        mask = [not first, True, False]
        back = torch.ops.aten.convolution_backward(
            out, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1, mask
        )
        gradient: Tensor = back[1]
        return gradient

    return work


def measure(rounds: int, *overrides: str) -> list[Row]:
    """The rows about steps, with further overrides for what is trained."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as runs:
        where = (f"runs_dir={runs}", f"cache_dir={ROOT / 'runs' / 'cache'}", *overrides)
        asked, frozen = planned("variant=B2", *where), planned("variant=B1", *where)
        (pretraining,) = asked.spec.needs
        unet = Bench.of(pretraining, asked, STEPS)
        finetune = Bench.of(asked.spec, asked, STEPS)
        rows = _steps("pretraining", unet, rounds) + _steps("fine-tuning", finetune, rounds)
        if unet.machine.device.type == "cuda":
            rows.append(_compiled(unet))
        return [*rows, _head(frozen, rounds)]


def _compiled(bench: Bench) -> Row:
    """What `compile=auto` goes by."""
    with torch.autocast(
        bench.machine.device.type, torch.bfloat16, bench.machine.precision == "bf16"
    ):
        found = speedup(bench.task.encoder, bench.resident()["image"])
    return Row(
        "the encoder's step: eager / compiled, seconds",
        found,
        PAYS,
        True,
        shown=bench.machine.precision,
    )


def _steps(name: str, bench: Bench, rounds: int) -> list[Row]:
    contenders = {
        "harness": bench.harness,
        "bare": bench.bare(),
        "convolutions": bench.convolutions(),
    }
    took = in_turn(contenders, rounds)
    shown = f"{bench.machine.precision}, bare loop {1 / np.median(took['bare']):.0f} images/s"
    least, aim = (0.95, 0.4) if bench.machine.device.type == "cuda" else (0.97, 0.5)
    return [
        ratio_row(
            f"{name}: harness / bare loop, images/s", took["bare"], took["harness"], least, shown
        ),
        ratio_row(
            f"{name}: bare loop / its convolutions alone, FLOP/s",
            took["convolutions"],
            took["bare"],
            aim,
            shown,
        ),
    ]


def _head(asked: Planned, rounds: int) -> Row:
    """A head on features that were computed once against the encoder run every step, a step."""
    live, cached = Bench.of(asked.spec, asked, STEPS), Bench.of(asked.spec, asked, HEAD_STEPS)
    cached.task.before_fit(cached.job)
    took = in_turn({"live": live.harness, "cached": cached.harness}, rounds)
    shown = f"{1e6 * float(np.median(took['cached'])):.0f} us a photo"
    return ratio_row(
        "head on frozen features: steps/s / with the encoder every step",
        took["live"],
        took["cached"],
        20,
        shown,
    )

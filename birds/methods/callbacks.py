"""Callbacks of a training: curves as CSV, progress reports, checkpoints and early stopping."""

import csv
import io
import math
import time
from collections.abc import Callable
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from birds.core.spec import Training
from birds.core.stopwatch import Stopwatch
from birds.core.store import RunFolder, Stopped, write_text

TOLD = {  # what a run reports after each epoch: name in the report -> column of the curves
    "loss": "train_loss",
    "valid_loss": "valid_loss",
    "valid_accuracy": "valid_accuracy",
}


class Curves(Callback):
    """Writes one row an epoch to `curves.csv`, with or without tracking, and reports the run's
    progress.

    `train_seconds` and `fit_seconds` are sums over all attempts of the run.
    """

    def __init__(
        self,
        folder: RunFolder,
        training: Training,
        say: Callable[[str], object],
        monitored: str | None,
        watch: Stopwatch,
    ) -> None:
        self.rows: list[dict[str, float]] = []
        self.train_seconds = 0.0
        self.fit_seconds = 0.0
        self._folder = folder
        self._training = training
        self._say = say
        self._monitored = monitored
        self._watch = watch
        self._epoch_started = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "train_seconds": self.train_seconds,
            "fit_seconds": self.fit_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._epoch_started = time.perf_counter()
        self._watch.begin("train")
        if trainer.current_epoch == 0:
            self._folder.report(state="running", epoch=0, epochs=self._training.epochs)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.train_seconds += time.perf_counter() - self._epoch_started

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._folder.assert_mine()
        self.fit_seconds += time.perf_counter() - self._epoch_started
        if not trainer.enable_validation:  # with validation, it was added when validation began
            self.train_seconds += time.perf_counter() - self._epoch_started
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        pl_module.log("lr", lr)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step} | metrics | {"lr": lr}
        row["seconds"] = round(self.fit_seconds, 3)
        self.rows.append(row)
        write_text(self._folder.curves_file, as_csv(self.rows))
        refuse_to_diverge(row, self._monitored)
        self._report(row)

    def _report(self, row: dict[str, float]) -> None:
        done, epochs = len(self.rows), self._training.epochs
        losses = {word: row[name] for word, name in TOLD.items() if name in row}
        left = self.fit_seconds / done * (epochs - done)
        self._folder.report(state="running", epoch=done, epochs=epochs, **losses, seconds_left=left)
        shown = " ".join(
            f"{name}={row[name]:.4f}" for name in sorted(row) if name.endswith(("loss", "accuracy"))
        )
        self._say(f"epoch {done}/{epochs} {shown} {self.fit_seconds:.0f}s")


class Stopping(Callback):
    """Ends a training between two epochs, after a checkpoint, once `should_stop` returns true."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._should_stop():
            raise Stopped(
                f"stopped before epoch {trainer.current_epoch + 1}; it will continue from there"
            )


def refuse_to_diverge(row: dict[str, float], monitored: str | None) -> None:
    """Raise FloatingPointError when a loss of an epoch is not a finite number."""
    for name in ("train_loss", monitored):
        value = row.get(name or "")
        if value is not None and not math.isfinite(value):
            raise FloatingPointError(
                f"{name} became {value} in epoch {row['epoch']}: lower the learning rate"
            )


def as_csv(rows: list[dict[str, float]]) -> str:
    """The rows as CSV text, with the columns of the last row."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, fieldnames=list(rows[-1]), extrasaction="ignore", restval="", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class _From(Callback):
    """A callback that ignores the first epochs; `share` (0 to 1) of all epochs says how many."""

    def __init__(self, share: float, epochs: int, **options: Any) -> None:
        super().__init__(**options)
        self._epoch = min(math.ceil(share * epochs), epochs - 1)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch >= self._epoch:
            super().on_train_epoch_end(trainer, pl_module)


class EarlyStoppingFrom(_From, EarlyStopping):
    """Patience starts after a share of the epochs: a good start often gets worse before it gets
    better.
    """


class CheckpointFrom(_From, ModelCheckpoint):
    """Early epochs are ignored: an untrained head can have the lowest loss."""


def keeping(folder: RunFolder, training: Training, monitored: str | None) -> list[Callback]:
    """Callbacks: early stopping if it was asked for, then the best and the last checkpoint.

    Without a monitored value the last epoch is kept as the best.
    """
    where: dict[str, Any] = {
        "dirpath": folder.checkpoint("best").parent,
        "enable_version_counter": False,
        "save_on_train_epoch_end": True,
    }
    best = CheckpointFrom(
        training.best_from if monitored else 0.0,
        training.epochs,
        filename="best",
        monitor=monitored,
        save_weights_only=True,
        **where,
    )
    callbacks: list[Callback] = [best, ModelCheckpoint(filename="last", monitor=None, **where)]
    if monitored is not None and training.patience is not None:
        stopping = EarlyStoppingFrom(
            training.patience_from, training.epochs, monitor=monitored, patience=training.patience
        )
        callbacks.insert(0, stopping)
    return callbacks


def stopped_early(checkpoint: dict[str, Any]) -> bool:
    """Whether patience had run out when this training checkpoint was written.

    Lightning does not remember this when it resumes.
    """
    states = [
        state for name, state in checkpoint["callbacks"].items() if name.startswith("EarlyStopping")
    ]
    return any(state["wait_count"] >= state["patience"] for state in states)

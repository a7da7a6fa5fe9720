"""Early stopping with a learning rate that rises and falls: a run with a good start is not stopped
early.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from composing import spec
from made_specs import SMALL, claimed, fitted, job_for
from small_data import data_for
from torch import Tensor, nn
from torch.utils.data import DataLoader

from birds.core.checkpoint import read_checkpoint
from birds.core.spec import RunSpec, Training
from birds.core.store import RunFolder
from birds.methods import create_method
from birds.methods.callbacks import keeping, stopped_early

pytestmark = pytest.mark.filterwarnings("ignore")
WORSE_AT_FIRST = [2.0, 3.0, 3.0, 3.0, 2.5, 1.5, 1.6, 1.7, 1.0, 0.9]


class Scripted(L.LightningModule):
    """A method whose validation losses are given."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.losses = losses
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        loss: Tensor = self.layer(batch).sum()
        return loss

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.log("valid_loss", self.losses[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def training_of(run: RunSpec) -> Training:
    assert run.training is not None
    return run.training


def trained(
    folder: RunFolder,
    training: Training,
    losses: list[float],
    monitored: str | None = "valid_loss",
) -> L.Trainer:
    """A training with these validation losses, one per epoch, until patience runs out."""
    trainer = L.Trainer(
        max_epochs=len(losses),
        callbacks=keeping(folder, training, monitored),
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    images: Any = DataLoader(torch.ones(1, 1))  # type: ignore[arg-type]
    trainer.fit(Scripted(losses), images, images)
    return trainer


def kept_epoch(folder: RunFolder) -> int:
    checkpoint = read_checkpoint(folder.checkpoint("best"))
    assert checkpoint is not None
    return int(checkpoint["epoch"])


@pytest.mark.parametrize(
    ("patience_from", "epochs", "best"), [(0.0, 3, 0), (0.5, 8, 5), (0.8, 10, 9)]
)
def test_patience_runs_from_a_share_of_the_epochs_on(
    tmp_path: Path, patience_from: float, epochs: int, best: int
) -> None:
    share = f"budget.classify.patience_from={patience_from}"
    chosen = spec("variant=A", share, "budget.classify.epochs=10")
    training = training_of(chosen).model_copy(update={"patience": 2})
    folder = RunFolder(tmp_path, chosen)
    trainer = trained(folder, training, WORSE_AT_FIRST)
    assert trainer.current_epoch == epochs
    last = read_checkpoint(folder.checkpoint("last"))
    assert last is not None
    assert stopped_early(last) == (epochs < 10), "a resumed run must know that it is done"
    assert kept_epoch(folder) == best


@pytest.mark.parametrize(("best_from", "best"), [(0.0, 0), (0.5, 5), (0.99, 9)])
def test_the_kept_epoch_is_looked_for_from_a_share_of_the_epochs_on(
    tmp_path: Path, best_from: float, best: int
) -> None:
    share = f"budget.classify.best_from={best_from}"
    chosen = spec("variant=A", share, "budget.classify.epochs=10")
    folder = RunFolder(tmp_path, chosen)
    losses = [1.0, 3.0, 3.0, 3.0, 2.5, 1.5, 1.6, 1.7, 1.9, 1.8]
    trained(folder, training_of(chosen), losses)
    assert kept_epoch(folder) == best


def test_a_single_epoch_is_kept(tmp_path: Path) -> None:
    chosen = spec("variant=B1", "budget.frozen.epochs=1")
    folder = RunFolder(tmp_path, chosen)
    trained(folder, training_of(chosen), [1.0])
    assert read_checkpoint(folder.checkpoint("best")) is not None


@pytest.mark.parametrize("variant", ["A", "B1", "B2"])
def test_without_patience_every_epoch_is_trained_and_the_best_is_kept(
    tmp_path: Path, variant: str
) -> None:
    words = [f"budget.{section}.patience=null" for section in ("classify", "frozen", "pretrain")]
    chosen = spec(f"variant={variant}", *words)
    assert training_of(chosen).patience is None
    losses = [0.5, *range(1, 20)]
    folder = RunFolder(tmp_path, chosen)
    training = training_of(chosen).model_copy(update={"best_from": 0.0})
    trainer = trained(folder, training, losses)
    assert trainer.current_epoch == 20
    assert kept_epoch(folder) == 0
    with_patience = training_of(spec(f"variant={variant}")).model_copy(
        update={"patience_from": 0.0}
    )
    assert trained(RunFolder(tmp_path, "0" * 12), with_patience, losses).current_epoch < 20


def test_without_a_monitored_value_the_last_epoch_is_kept_whatever_it_was(tmp_path: Path) -> None:
    chosen = spec("variant=A", "budget.classify.epochs=5", "budget.classify.patience=1")
    folder = RunFolder(tmp_path, chosen)
    trainer = trained(folder, training_of(chosen), [1.0, 2.0, 3.0, 4.0, 5.0], monitored=None)
    assert trainer.current_epoch == 5
    assert kept_epoch(folder) == 4


def test_a_fixed_number_of_epochs_goes_the_whole_road(tmp_path: Path) -> None:
    chosen = spec("variant=A", *SMALL, "budget.classify.epochs=3", "budget.classify.patience=null")
    _, measured = fitted(job_for(chosen, data_for(chosen), tmp_path))
    assert measured["epochs"] == 3


def test_ctrl_c_where_lightning_cannot_tidy_up_is_still_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making its loader and starting it, Lightning's own teardown fails."""

    def interrupted(fetcher: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lightning.pytorch.loops.fetchers._DataFetcher.__iter__", interrupted)
    chosen = spec("variant=A", *SMALL)
    job = job_for(chosen, data_for(chosen), tmp_path)
    with pytest.raises(KeyboardInterrupt), claimed(job):
        create_method(job).fit(job)


def test_every_budget_gives_classifiers_the_first_half() -> None:
    for budget in ("smoke", "laptop", "full"):
        for variant in ("A", "B1", "FixMatch"):
            training = training_of(spec(f"budget={budget}", f"variant={variant}"))
            assert training.patience_from == 0.5
            assert training.best_from == (0 if variant == "A" else 0.5)

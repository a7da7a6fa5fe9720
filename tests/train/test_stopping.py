"""Early stopping under a learning rate that rises and falls: what starts well is given time."""

from pathlib import Path

import lightning as L
import pytest
import torch
from contracts.test_configs import spec
from torch import Tensor, nn
from torch.utils.data import DataLoader

from birds.core.checkpoint import read_checkpoint
from birds.core.spec import Training
from birds.core.store import RunFolder
from birds.methods.callbacks import Curves, keeping, stopped_early
from birds.train.run import _fit

WORSE_AT_FIRST = [2.0, 3.0, 3.0, 3.0, 2.5, 1.5, 1.6, 1.7, 1.0, 0.9]


class Scripted(L.LightningModule):
    """Validation losses as they are told."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.losses, self.layer = losses, nn.Linear(1, 1)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return self.layer(batch).sum()

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.log("valid_loss", self.losses[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trained(folder: RunFolder, training: Training, losses: list[float]) -> L.Trainer:
    """A training that shows these validation losses, an epoch each, while patience lasts."""
    trainer = L.Trainer(
        max_epochs=len(losses), callbacks=keeping(folder, training), logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    photos = DataLoader(torch.ones(1, 1))  # type: ignore[arg-type]
    trainer.fit(Scripted(losses), photos, photos)
    return trainer


@pytest.mark.parametrize(
    ("patience_from", "epochs", "best"), [(0.0, 3, 0), (0.5, 8, 5), (0.8, 10, 9)]
)
def test_patience_runs_from_a_share_of_the_epochs_on(
    tmp_path: Path, patience_from: float, epochs: int, best: int
) -> None:
    chosen = spec(
        "variant=A", f"budget.classify.patience_from={patience_from}", "budget.classify.epochs=10"
    )
    training = chosen.training.model_copy(update={"patience": 2})
    folder = RunFolder(tmp_path, chosen)
    trainer = trained(folder, training, WORSE_AT_FIRST)
    assert trainer.current_epoch == epochs
    last, kept = (read_checkpoint(folder.checkpoint(name)) for name in ("last", "best"))
    assert last is not None
    assert kept is not None
    assert stopped_early(last) == (epochs < 10), "a resumed run must know that it is done"
    assert kept["epoch"] == best


@pytest.mark.parametrize(("best_from", "best"), [(0.0, 0), (0.5, 5), (0.99, 9)])
def test_the_kept_epoch_is_looked_for_from_a_share_of_the_epochs_on(
    tmp_path: Path, best_from: float, best: int
) -> None:
    chosen = spec(
        "variant=A", f"budget.classify.best_from={best_from}", "budget.classify.epochs=10"
    )
    folder = RunFolder(tmp_path, chosen)
    trained(folder, chosen.training, [0.5, *WORSE_AT_FIRST[1:8], 1.9, 1.8])
    kept = read_checkpoint(folder.checkpoint("best"))
    assert kept is not None
    assert kept["epoch"] == best


def test_a_single_epoch_is_kept(tmp_path: Path) -> None:
    chosen = spec("variant=B1", "budget.frozen.epochs=1")
    folder = RunFolder(tmp_path, chosen)
    trained(folder, chosen.training, [1.0])
    assert read_checkpoint(folder.checkpoint("best")) is not None


def test_ctrl_c_where_lightning_cannot_tidy_up_is_still_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making its loader and starting it, Lightning's own teardown fails."""

    def interrupted(fetcher: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lightning.pytorch.loops.fetchers._DataFetcher.__iter__", interrupted)
    trainer = L.Trainer(
        max_epochs=1, logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, default_root_dir=tmp_path,
    )  # fmt: skip
    photos = DataLoader(torch.ones(1, 1))  # type: ignore[arg-type]
    chosen = spec("variant=A")
    folder = RunFolder(tmp_path, chosen)
    with pytest.raises(KeyboardInterrupt):
        _fit(trainer, Scripted([1.0]), photos, folder, Curves(folder, chosen.training, print))  # type: ignore[arg-type]


def test_every_budget_gives_classifiers_the_first_half() -> None:
    for budget in ("smoke", "laptop", "full"):
        for variant in ("A", "B1", "FixMatch"):
            training = spec(f"budget={budget}", f"variant={variant}").training
            assert training.patience_from == 0.5
            assert training.best_from == (0 if variant == "A" else 0.5)

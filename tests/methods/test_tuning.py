"""Fine-tuning that keeps what was learned: rates by depth, BatchNorm as it was, averaged weights,
joint training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts.test_configs import spec
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from tasks.test_classify import SMALL, data_for, photos

from birds.core.spec import ClassifySpec
from birds.data.module import BirdsDataModule
from birds.data.split import draw_split
from birds.methods.classify.standard import Classify
from birds.methods.pretraining.autoencoder import Reconstruct

pytestmark = pytest.mark.filterwarnings("ignore")
STEPS = 4


def task_for(made: ClassifySpec) -> Classify:
    task = Classify(made, 3, STEPS)
    if made.pretrained is not None:
        pretrained = Reconstruct(made.pretrained, STEPS)
        torch.manual_seed(1)
        for norm in (
            module
            for module in pretrained.unet.encoder.modules()
            if hasattr(module, "running_mean")
        ):
            torch.nn.init.uniform_(norm.running_mean, 0, 0.1)
        task.start_from(pretrained.state_dict())
    return task


def fit(
    made: ClassifySpec, folder: Path, task: Classify | None = None, **options: Any
) -> tuple[Classify, Path]:
    """Train without validation; the task and its weights-only checkpoint of the last epoch, as runs
    keep the best.
    """
    torch.set_num_threads(1)
    task = task or task_for(made)
    kept = ModelCheckpoint(
        folder, "best", monitor=None, save_weights_only=True, save_on_train_epoch_end=True
    )
    trainer = Trainer(
        max_epochs=made.training.epochs,
        accelerator="cpu",
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        callbacks=[kept, *options.pop("callbacks", [])],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(task, data_for(made))
    return task, folder / "best.ckpt"


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(path, weights_only=True)["state_dict"])


def test_deeper_levels_learn_faster_and_the_head_fastest() -> None:
    made = spec("variant=B2", *SMALL, "lr_decay=0.5")
    task = task_for(made)
    optimizer = task.configure_optimizers()["optimizer"]
    name_of = {id(parameter): name for name, parameter in task.named_parameters()}
    rates = {
        name_of[id(p)]: group["initial_lr"]
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert len(rates) == len(list(task.parameters())), "a parameter is trained twice or never"
    lr = made.training.lr
    assert {rate for name, rate in rates.items() if name.startswith("head")} == {lr}
    for level in range(3):
        own = {rate for name, rate in rates.items() if name.startswith(f"encoder.levels.{level}.")}
        assert own == {lr * 0.5 ** (3 - level)}


def test_one_rate_for_all_is_two_groups_as_ever() -> None:
    optimizer = task_for(spec("variant=B2", *SMALL)).configure_optimizers()["optimizer"]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]


@pytest.mark.parametrize(("batchnorm", "moves"), [("train", True), ("frozen", False)])
def test_batchnorm_statistics_follow_or_stay_while_weights_learn(
    tmp_path: Path, batchnorm: str, moves: bool
) -> None:
    made = spec("variant=B2", *SMALL, f"batchnorm={batchnorm}")
    task = task_for(made)
    before = {name: value.clone() for name, value in task.encoder.state_dict().items()}
    fit(made, tmp_path, task)
    after = task.encoder.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("running_mean" in name for name in changed) is moves
    assert any(name.endswith("weight") for name in changed)


class Trail(Callback):
    """The average of weights by hand: (1 - decay) of each step's weights on what was; it begins
    with the first's.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, torch.Tensor] = {}

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        self.raw = {name: value.detach().clone() for name, value in pl_module.named_parameters()}
        for name, value in self.raw.items():
            before = self.average.get(name, value)
            self.average[name] = self.decay * before + (1 - self.decay) * value


def test_averaged_weights_are_what_is_evaluated_and_kept(tmp_path: Path) -> None:
    made = spec("variant=A", *SMALL, "ema=0.8", "budget.classify.lr=0.05")
    task, trail, seen = task_for(made), Trail(0.8), []

    def remember(batch: Any, batch_idx: int = 0) -> None:
        seen.append(task.head.linear.weight.detach().clone())

    task.validation_step = remember  # type: ignore[method-assign]
    _, path = fit(made, tmp_path, task, callbacks=[trail])
    kept = weights(path)
    assert set(kept) == set(Classify(made, 3, 1).state_dict()), (
        "the checkpoint holds more than the classifier"
    )
    for name, value in trail.average.items():
        torch.testing.assert_close(kept[name], value)
    assert (trail.raw["head.linear.weight"] - kept["head.linear.weight"]).abs().max() > 1e-3
    torch.testing.assert_close(seen[-1], kept["head.linear.weight"])


def test_without_averaging_the_last_weights_are_kept(tmp_path: Path) -> None:
    task, path = fit(spec("variant=A", *SMALL), tmp_path)
    assert all(torch.equal(value, task.state_dict()[name]) for name, value in weights(path).items())


JOINT = ("variant=B2", *SMALL, "transfer=joint", "pretext=masked")


def test_joint_training_restores_unlabelled_photos_and_leaves_a_classifier_alone(
    tmp_path: Path,
) -> None:
    made = spec(*JOINT, "budget.classify.lr=0.01")
    task = task_for(made)
    assert task.beside is not None
    decoder = task.beside.unet.out.weight.detach().clone()
    task, path = fit(made, tmp_path, task)
    assert task.beside is not None
    assert not torch.equal(decoder, task.beside.unet.out.weight), "the decoder learned nothing"
    kept = weights(path)
    alone = Classify(made, 3, 1)
    assert set(kept) == set(alone.state_dict())
    alone.load_state_dict(kept)
    task.load_state_dict(kept)
    assert task.beside is None
    assert sum(p.numel() for p in task.parameters()) == sum(p.numel() for p in alone.parameters())


def test_joint_training_with_weight_nought_is_fine_tuning(tmp_path: Path) -> None:
    """Then the photos beside leave no trace: neither in the weights nor in the BatchNorm
    statistics.
    """
    _, joint = fit(spec(*JOINT, "joint_weight=0"), tmp_path / "joint")
    _, tuned = fit(spec(*JOINT, "transfer=finetune"), tmp_path / "tuned")
    for name, value in weights(tuned).items():
        torch.testing.assert_close(weights(joint)[name], value, msg=name)
    _, heavy = fit(spec(*JOINT, "joint_weight=5"), tmp_path / "heavy")
    assert not torch.allclose(
        weights(heavy)["encoder.levels.2.0.weight"], weights(tuned)["encoder.levels.2.0.weight"]
    )


def test_what_stands_beside_is_unlabelled_and_the_same_again() -> None:
    data = data_for(spec(*JOINT))
    table, pixels = photos()
    rows = table.rows("train")
    split = draw_split(rows, table.label[rows], split=50, seed=0, species=table.species)
    assert sorted(data.rows["unlabelled"]) == sorted(split.unlabelled)
    cpu = torch.device("cpu")
    seen, again = (
        data.unlabelled(3, cpu),
        BirdsDataModule(data.spec, table, pixels, split).unlabelled(3, cpu),
    )
    assert set(seen) == {"photo", "row"}, "a label is given away"
    assert all(torch.equal(seen[name], again[name]) for name in seen)
    assert not torch.equal(seen["photo"], data.unlabelled(4, cpu)["photo"])
    plain, row = (data.unlabelled(3, cpu, plain=True)[name] for name in ("photo", "row"))
    assert torch.equal(seen["row"], row)
    assert np.array_equal((255 * plain).round().permute(0, 2, 3, 1).numpy(), pixels[row])


@pytest.mark.parametrize("variant", ["B0", "B1"])
def test_the_untrained_control_is_frozen_at_the_weights_that_training_starts_from(
    tmp_path: Path, variant: str
) -> None:
    made = spec(f"variant={variant}", *SMALL)
    start = Classify(spec("variant=A", *SMALL), 3, STEPS).encoder.state_dict()
    task, _ = fit(made, tmp_path)
    after = task.encoder.state_dict()
    assert all(torch.equal(start[name], after[name]) for name in start) is (variant == "B0")
    assert not any(p.requires_grad for p in task.encoder.parameters())

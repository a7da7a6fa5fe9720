"""Learning beside the labels: from clusters and from sure guesses, never from a label that is
hidden.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from contracts.test_configs import spec
from lightning import Trainer
from tasks.test_classify import SMALL, photos
from tasks.test_tuning import task_for, weights

from birds.core.spec import ClassifySpec, UserError
from birds.data.module import BirdsDataModule
from birds.data.split import draw_split
from birds.methods.classify.beside import LOSSES, agreeing
from birds.methods.classify.standard import Classify
from birds.methods.pretraining.autoencoder import Reconstruct
from birds.train.run import _clusters

pytestmark = pytest.mark.filterwarnings("ignore")
Words = tuple[str, ...]
SAME = (*SMALL, "budget.classify.lr=0.01", "label_smoothing=0", "dropout=0")
KM, FIXMATCH = ("variant=KM", *SAME), ("variant=FixMatch", *SAME, "threshold=0.34")
B2, A = ("variant=B2", *SAME), ("variant=A", *SAME)


def data_with(made: ClassifySpec, hidden: int | None = None) -> BirdsDataModule:
    """The photos of three species, cut as ever; with `hidden`, all unlabelled ones said to be of
    that species.
    """
    table, pixels = photos()
    rows = table.rows("train")
    split = draw_split(
        rows, table.label[rows], split=made.split, seed=made.seed, species=table.species
    )
    if hidden is not None:
        label = table.label.copy()
        label[split.unlabelled] = hidden
        table = dataclasses.replace(table, label=label)
    return BirdsDataModule(made, table, pixels, split)


def trained(made: ClassifySpec, data: BirdsDataModule, folder: Path) -> dict[str, torch.Tensor]:
    """The weights that a run would leave, clusters made as a run makes them."""
    torch.set_num_threads(1)
    task = task_for(made)
    if made.transfer == "clusters":
        task.follow(clusters_of(made, data))
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", reload_dataloaders_every_n_epochs=1, num_sanity_val_steps=0, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(task, data)
    if made.transfer in LOSSES:
        assert trainer.callback_metrics["train_beside_loss"] > 0
    trainer.save_checkpoint(folder / "best.ckpt", weights_only=True)
    return weights(folder / "best.ckpt")


def clusters_of(made: ClassifySpec, data: BirdsDataModule) -> torch.Tensor:
    assert made.pretrained is not None
    return _clusters(made.pretrained, Reconstruct(made.pretrained, 1).state_dict(), data)


@pytest.mark.parametrize(("asked", "same"), [(KM, B2), (FIXMATCH, A)], ids=["KM", "FixMatch"])
def test_the_unlabelled_teach_but_not_their_labels(
    asked: Words, same: Words, tmp_path: Path
) -> None:
    """With weight nought KM is B2 and FixMatch is A: then photos beside leave no trace, in
    BatchNorm neither.
    """
    made = spec(*asked)
    seen, lied_to = (trained(made, data_with(made, hidden), tmp_path) for hidden in (None, 1))
    assert seen.keys() == Classify(made, 3, 1).state_dict().keys(), (
        "the checkpoint is a classifier alone"
    )
    assert all(torch.equal(value, lied_to[name]) for name, value in seen.items())
    without, other = spec(*asked, "joint_weight=0"), spec(*same)
    ignored, plain = (trained(one, data_with(one), tmp_path) for one in (without, other))
    for name, value in plain.items():
        torch.testing.assert_close(ignored[name], value, msg=name)
    assert not torch.allclose(
        ignored["encoder.levels.2.0.weight"], seen["encoder.levels.2.0.weight"]
    )


def test_clusters_are_of_the_unlabelled_photos_alone_one_for_each_species() -> None:
    made = spec(*KM)
    data = data_with(made)
    found = clusters_of(made, data).numpy()
    assert set(np.flatnonzero(found >= 0)) == set(data.rows["unlabelled"])
    assert set(found[data.rows["unlabelled"]]) == {0, 1, 2}


def test_fixmatch_learns_only_from_what_it_is_sure_of() -> None:
    made = spec(*FIXMATCH, "threshold=0.9")
    task, data = task_for(made), data_with(made)
    task.log = lambda name, value, **k: shares.append(float(value))  # type: ignore[method-assign]
    shares: list[float] = []
    assert agreeing(task, data) == 0, "an untrained head is sure of nothing"
    torch.nn.init.normal_(task.head.linear.bias, std=100)
    assert agreeing(task, data) >= 0
    assert shares == [0, 1]


def test_a_threshold_that_smoothing_forbids_is_refused_and_others_do_not_read_it() -> None:
    with pytest.raises(UserError, match="choose label_smoothing=0 or a smaller threshold"):
        spec("variant=FixMatch", "label_smoothing=0.1")
    with pytest.raises(UserError, match="threshold=1"):
        spec("variant=FixMatch", "threshold=1")
    assert spec("variant=FixMatch", "threshold=0.8").key != spec("variant=FixMatch").key
    assert spec("variant=A", "threshold=0.8").key == spec("variant=A").key
    assert spec("variant=KM").pretrained == spec("variant=B2").pretrained

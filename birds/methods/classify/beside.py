"""What a classifier learns from unlabelled photos beside the labelled ones of a step: a loss for
each such transfer.

No loss sees a label: the data module gives photos and rows alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from birds.core.randomness import stream_seed
from birds.data.augment import augment, view_parameters
from birds.data.module import BirdsDataModule
from birds.methods.pretraining.autoencoder import Reconstruct

if TYPE_CHECKING:
    from birds.methods.classify.standard import Classify

WEAK, STRONG = (
    0.5,
    2.0,
)  # how much a photo is changed to guess its species, and to learn the guess; 1 for labelled ones


def restored(task: Classify, data: BirdsDataModule) -> Tensor:
    """The pretext goes on (transfer=joint): its loss."""
    assert isinstance(task.beside, Reconstruct)
    random = torch.Generator(task.device).manual_seed(
        stream_seed(task.spec.seed, "joint", task.global_step)
    )
    return task.beside.training_loss(
        data.unlabelled(task.global_step, task.device)["photo"], random, progress=1.0
    )


def clustered(task: Classify, data: BirdsDataModule) -> Tensor:
    """Pseudo-labels (transfer=clusters): a second head tells which cluster each photo fell into
    before training.

    One step of DeepCluster (Caron et al. 2018, arXiv:1807.05520), beside the labels.
    """
    assert task.beside is not None
    batch = data.unlabelled(task.global_step, task.device)
    return F.cross_entropy(
        task.beside(task.features(batch["photo"])).float(), task.clusters[batch["row"]]
    )


def agreeing(task: Classify, data: BirdsDataModule) -> Tensor:
    """FixMatch (Sohn et al. 2020, arXiv:2001.07685): what is sure of a photo changed little holds
    for it changed much.

    The cross entropy of the strongly changed photo against the likeliest species of the weakly
    changed one, over photos whose likeliest species has a probability of `threshold` or more; the
    mean counts the others as 0.
    """
    photo = data.unlabelled(task.global_step, task.device, plain=True)["photo"]
    seed = stream_seed(task.spec.seed, "fixmatch")
    tables = (
        view_parameters(seed, 2 * task.global_step + k, len(photo), s)
        for k, s in enumerate((WEAK, STRONG))
    )
    weak, strong = (augment(photo, torch.from_numpy(table).to(photo.device)) for table in tables)
    with torch.no_grad():
        sureness, guess = task(weak).softmax(1).max(1)
    sure = (sureness >= (task.spec.threshold or 0)).float()
    task.log("train_sure", sure.mean(), on_step=False, on_epoch=True, batch_size=len(photo))
    loss: Tensor = F.cross_entropy(task(strong), guess, reduction="none") * sure
    return loss.mean()


Loss = Callable[["Classify", BirdsDataModule], Tensor]
LOSSES: dict[str, Loss] = {"joint": restored, "clusters": clustered, "fixmatch": agreeing}

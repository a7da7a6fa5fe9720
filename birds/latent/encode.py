"""Photos to latent vectors by the encoder of a finished run, or by the untrained one it started from.

A latent vector is the mean over positions of the encoder's deepest features; of a variational pretraining, of the
latent's mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from birds.data.augment import to_float
from birds.data.module import EVALUATION_BATCH, BirdsDataModule
from birds.models import build_encoder
from birds.models.checkpoint import read_checkpoint
from birds.randomness import stream_seed
from birds.spec import ClassifySpec, PretrainSpec, Refused, RunSpec
from birds.store import RunFolder
from birds.tasks.classify import Classify
from birds.tasks.contrast import Contrast
from birds.tasks.reconstruct import Reconstruct

Encode = Callable[[Tensor], Float[Tensor, "B D"]]
OWN = {
    "scratch": "trained on the labels alone",
    "untrained": "untrained",
    "frozen": "pretrained, frozen",
    "finetune": "pretrained, fine-tuned",
    "joint": "pretrained, fine-tuned jointly",
}


def encoder_of(folder: RunFolder, spec: RunSpec) -> tuple[Encode, str]:
    """What turns photos into latent vectors in this run, and which encoder that is, in words.

    A pretraining has the encoder it pretrained, a classifier the one it classifies with. Raises Refused when the
    run's checkpoint is missing.
    """
    checkpoint = read_checkpoint(folder.checkpoint("best"))
    if checkpoint is None:
        raise Refused(
            f"run {folder.key} has no encoder: {folder.checkpoint('best')} is missing or was cut short; "
            "ask for the run again with train.py"
        )
    weights = checkpoint["state_dict"]
    if isinstance(spec, ClassifySpec):
        classifier = Classify(spec, len(weights["head.linear.bias"]), steps_per_epoch=1)
        classifier.load_state_dict(weights)
        return deepest_of(classifier), OWN[spec.transfer]
    return deepest_of(pretrained(spec, weights)), f"pretrained ({spec.pretext.name})"


def pretrained(spec: PretrainSpec, weights: dict[str, Tensor]) -> Contrast | Reconstruct:
    """A pretraining with its weights."""
    kind = Contrast if spec.pretext.contrastive else Reconstruct
    task = kind(spec, steps_per_epoch=1)
    task.load_state_dict(weights)
    return task


def deepest_of(task: Classify | Contrast | Reconstruct) -> Encode:
    """Photos as fractions to the mean over positions of what this task has deepest."""
    task.eval()

    def encode(photo: Tensor) -> Tensor:
        if not isinstance(task, Reconstruct):
            return _mean(task.encoder(photo)[-1])
        return _mean(task.pretext.latent(task.unet.encoder(photo)[-1], torch.Generator(photo.device))[0])

    return encode


def untrained(spec: RunSpec) -> Encode:
    """The same with the encoder that all runs of this architecture and seed start from."""
    torch.manual_seed(stream_seed(spec.seed, "encoder"))
    encoder = build_encoder(spec.encoder).eval()
    return lambda photo: _mean(encoder(photo)[-1])


def _mean(features: Float[Tensor, "B D h w"]) -> Float[Tensor, "B D"]:
    return features.float().mean((2, 3))


@torch.no_grad()
def unlabelled_vectors(encode: Encode, data: BirdsDataModule) -> NDArray[np.float32]:
    """The latent vectors (N, D) of the photos that `data` has as unlabelled, in the order of its rows, unchanged."""
    rows = data.rows["unlabelled"]
    chunks: Iterable[NDArray[np.int64]] = (
        rows[k : k + EVALUATION_BATCH] for k in range(0, len(rows), EVALUATION_BATCH)
    )
    photos = (torch.from_numpy(data.decoded(chunk)).permute(0, 3, 1, 2) for chunk in chunks)
    return torch.cat([encode(to_float(photo)) for photo in photos]).numpy()

"""Photos to latent vectors by the encoder of a finished run, or by the untrained one it started
from.

A latent vector is the mean over positions of the encoder's deepest features; of a variational
pretraining, of the latent's mean.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from birds.core.checkpoint import read_checkpoint
from birds.core.randomness import stream_seed
from birds.core.spec import PretrainSpec, RunSpec, UserError
from birds.core.store import RunFolder
from birds.data.augment import to_float
from birds.data.module import EVALUATION_BATCH, BirdsDataModule
from birds.encoders import build_encoder
from birds.methods.classify.standard import Classify
from birds.methods.pretraining.autoencoder import Reconstruct
from birds.methods.pretraining.contrast import Contrast

Encode = Callable[[Tensor], Float[Tensor, "B D"]]


def encoder_of(folder: RunFolder, spec: RunSpec) -> tuple[Encode, str]:
    """What turns photos into latent vectors in this run, and which encoder that is, in words.

    A pretraining has the encoder it pretrained, a classifier the one it classifies with. Raises
    UserError when the run's checkpoint is missing.
    """
    checkpoint = read_checkpoint(folder.checkpoint("best"))
    if checkpoint is None:
        raise UserError(
            f"run {folder.key} has no encoder: {folder.checkpoint('best')} is missing or was cut short; "
            "ask for the run again with train.py"
        )
    weights = checkpoint["state_dict"]
    if isinstance(spec, PretrainSpec):
        return pretrained_encode(spec, weights), f"pretrained ({spec.pretext.name})"
    task = Classify(spec, len(weights["head.linear.bias"]), steps_per_epoch=1)
    task.load_state_dict(weights)
    return lambda photo: _mean(task.eval().encoder(photo)[-1]), f"its own ({spec.transfer})"


def pretrained_encode(spec: PretrainSpec, weights: dict[str, Tensor]) -> Encode:
    """What turns photos into latent vectors in a pretraining with these weights."""
    if spec.pretext.contrastive:
        contrast = Contrast(spec, steps_per_epoch=1)
        contrast.load_state_dict(weights)
        return lambda photo: _mean(contrast.eval().encoder(photo)[-1])
    task = Reconstruct(spec, steps_per_epoch=1)
    task.load_state_dict(weights)

    def latent(photo: Tensor) -> Tensor:
        deepest = task.eval().unet.encoder(photo)[-1]
        return task.pretext.latent(deepest, torch.Generator(photo.device))[0]

    return lambda photo: _mean(latent(photo))


def untrained_encode(spec: RunSpec) -> Encode:
    """The same with the encoder that all runs of this architecture and seed start from."""
    torch.manual_seed(stream_seed(spec.seed, "encoder"))
    encoder = build_encoder(spec.encoder).eval()
    return lambda photo: _mean(encoder(photo)[-1])


def _mean(features: Float[Tensor, "B D h w"]) -> Float[Tensor, "B D"]:
    return features.float().mean((2, 3))


@torch.no_grad()
def unlabelled_vectors(encode: Encode, data: BirdsDataModule) -> NDArray[np.float32]:
    """The latent vectors (N, D) of the photos that `data` has as unlabelled, in the order of its
    rows, unchanged.
    """
    rows = data.rows["unlabelled"]
    chunks = np.array_split(rows, -(-len(rows) // EVALUATION_BATCH))
    photos = (torch.from_numpy(data.decoded(chunk)).permute(0, 3, 1, 2) for chunk in chunks)
    return torch.cat([encode(to_float(photo)) for photo in photos]).numpy()

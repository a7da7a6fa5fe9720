"""Robustness: a classifier's accuracy on test photos with more and more salt and pepper on them.

Each photo has one draw, from the run's seed and its row: variants of one seed see the same noise,
and what is replaced at one fraction is replaced at every higher one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from birds.core.randomness import stream
from birds.data.module import Batch
from birds.methods.pretraining.denoise import seasoned

NOISE = (
    0.0,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
)  # fractions of pixels replaced; pretraining can be asked for the same


def hits_under_noise(
    classify: Callable[[Tensor], Tensor], batch: Batch, seed: int
) -> Bool[Tensor, "B L-1"]:
    """Whether `classify` tells each photo's species at each of the fractions `NOISE` above none."""
    photo, label = batch["photo"], batch["label"]
    side = tuple(photo.shape[2:])
    draws = [
        stream(seed, "test noise", row).random((1, *side), dtype=np.float32)
        for row in batch["row"].tolist()
    ]
    draw = torch.from_numpy(np.stack(draws)).to(photo.device)
    return torch.stack(
        [classify(seasoned(photo, noise, draw)).argmax(1) == label for noise in NOISE[1:]], dim=1
    )


def accuracy_under_noise(hits: Bool[Tensor, "N L"]) -> dict[str, list[float]]:
    """The record's columns from whether each photo was told at each of the fractions `NOISE`."""
    return {"test_noise": list(NOISE), "test_accuracy_noise": hits.double().mean(0).tolist()}

"""Robustness: a classifier's accuracy on test images with increasing salt-and-pepper noise.

The noise of an image is drawn once, from the data set's seed and its row. So every run sees the
same noise, and pixels that are replaced at one level are also replaced at every higher level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from birds.data.module import Batch
from birds.methods.corruption import noise_draws, seasoned


def noisy_images(
    batch: Batch, levels: Sequence[float], seed: int
) -> Iterator[Float[Tensor, "B C H W"]]:
    """For each noise level, the images of the batch with that fraction of their pixels replaced.

    `seed` is that of the data set, so that every run on it sees the same noise.
    """
    image = batch["image"]
    sides = (image.shape[2], image.shape[3])
    draw = noise_draws(seed, batch["row"].tolist(), sides).to(image.device)
    for level in levels:
        yield seasoned(image, level, draw)


def hits_under_noise(
    classify: Callable[[Tensor], Tensor], batch: Batch, levels: Sequence[float], seed: int
) -> Bool[Tensor, "B L"]:
    """Correct or not, per image and noise level."""
    label = batch["label"]
    hits = [classify(noisy).argmax(1) == label for noisy in noisy_images(batch, levels, seed)]
    return torch.stack(hits, dim=1)


def accuracy_under_noise(hits: Bool[Tensor, "N L"], levels: Sequence[float]) -> dict[str, Any]:
    """The record's columns: noise levels, 0 first, the accuracy at each, how many images."""
    return {
        "test_noise": [0.0, *levels],
        "test_accuracy_noise": hits.double().mean(0).tolist(),
        "test_noise_images": len(hits),
    }

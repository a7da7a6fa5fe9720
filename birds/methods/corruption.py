"""Corrupts images for an autoencoder: salt-and-pepper noise on pixels, or grey patches.

Salt and pepper after Vincent et al. (2008, 10.1145/1390156.1390294); hidden patches after He et al.
(2022, arXiv:2111.06377), with a convolutional encoder that sees grey where a patch is hidden.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from birds.core.randomness import stream

GREY = 0.5


def salt_and_pepper(
    image: Float[Tensor, "B C H W"], noise: float, random: torch.Generator
) -> Float[Tensor, "B C H W"]:
    """The image with a fraction `noise` of its pixels replaced, half by black and half by white."""
    draw = torch.rand((len(image), 1, *image.shape[2:]), generator=random, device=image.device)
    return seasoned(image, noise, draw)


def seasoned(
    image: Float[Tensor, "B C H W"], noise: float, draw: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, "B C H W"]:
    """Salt and pepper from a uniform draw, 0 to 1.

    With the same draw, pixels that are replaced at a low noise level are also replaced at higher
    ones.
    """
    return image.masked_fill(draw < noise / 2, 0.0).masked_fill(draw >= 1 - noise / 2, 1.0)


def noise_draws(seed: int, rows: Sequence[int], sides: tuple[int, int]) -> Float[Tensor, "B 1 H W"]:
    """A uniform draw, 0 to 1, for each image, from the data set's seed and the image's row.

    So every run on a data set sees the same noise on its test images.
    """
    draws = [stream(seed, "test noise", row).random((1, *sides), dtype=np.float32) for row in rows]
    return torch.from_numpy(np.stack(draws))


def hidden_patches(
    image: Float[Tensor, "B C H W"], hidden: float, patch: int, random: torch.Generator
) -> Bool[Tensor, "B 1 H W"]:
    """Which pixels are hidden: `hidden` of each image's patches, rounded to whole patches.

    `patch` is the side of a patch in pixels; the image's sides must be multiples of it.
    """
    high, wide = image.shape[2] // patch, image.shape[3] // patch
    order = torch.rand((len(image), high * wide), generator=random, device=image.device).argsort(1)
    mask = (order < round(hidden * high * wide)).view(len(image), 1, high, wide)
    return mask.repeat_interleave(patch, 2).repeat_interleave(patch, 3)

"""Denoising: restore the photo from one with salt-and-pepper noise (Vincent et al. 2008,
10.1145/1390156.1390294).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from birds.methods.pretraining import Pretext


def salt_and_pepper(
    photo: Float[Tensor, "B 3 H W"], noise: float, random: torch.Generator
) -> Float[Tensor, "B 3 H W"]:
    """The photo with a fraction `noise` of its pixels replaced, half by black and half by white, in
    all channels.
    """
    draw = torch.rand((len(photo), 1, *photo.shape[2:]), generator=random, device=photo.device)
    return seasoned(photo, noise, draw)


def seasoned(
    photo: Float[Tensor, "B 3 H W"], noise: float, draw: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, "B 3 H W"]:
    """Salt and pepper from a uniform draw, 0 to 1: with one draw, what less noise replaces more
    noise replaces too.
    """
    return photo.masked_fill(draw < noise / 2, 0.0).masked_fill(draw >= 1 - noise / 2, 1.0)


class Denoise(Pretext):
    """`noise` is the fraction of pixels replaced, 0 to 1."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.noise = noise

    def corrupt(
        self, photo: Float[Tensor, "B 3 H W"], random: torch.Generator
    ) -> Float[Tensor, "B 3 H W"]:
        """The photo with salt and pepper on it."""
        return salt_and_pepper(photo, self.noise, random)


def build(channels: int, noise: float) -> Pretext:
    """A denoising pretext."""
    return Denoise(noise)

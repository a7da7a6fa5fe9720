"""Pretexts: what an autoencoder is asked to do without labels, one file each.

A file offers `build(channels, **options) -> Pretext`; a YAML of its name in `configs/pretext/` offers it to people.
"""

from __future__ import annotations

import importlib

import torch
from jaxtyping import Float
from torch import Tensor, nn

from birds.spec import PretextChoices, Refused


class Pretext(nn.Module):
    """What happens to a photo on its way through an autoencoder, and what counts as loss. By default: nothing, MSE."""

    def corrupt(self, photo: Float[Tensor, "B 3 H W"], random: torch.Generator) -> Float[Tensor, "B 3 H W"]:
        """The photo as the encoder gets to see it; all randomness from `random`, which lies on the photo's device."""
        return photo

    def latent(self, deepest: Float[Tensor, "B C H W"], random: torch.Generator) -> Float[Tensor, "B C H W"]:
        """The deepest features as the decoder gets to see them."""
        return deepest

    def loss(self, restored: Float[Tensor, "B 3 H W"], photo: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
        """The mean squared error of photos as fractions."""
        return nn.functional.mse_loss(restored, photo)


def build_pretext(choices: PretextChoices, channels: int) -> Pretext:
    """The pretext of these choices for an encoder whose deepest level has `channels`. Refused: unknown ones."""
    try:
        module = importlib.import_module(f"birds.pretext.{choices.name}")
    except ModuleNotFoundError:
        raise Refused(f"pretext={choices.name} needs birds/pretext/{choices.name}.py, which does not exist") from None
    pretext: Pretext = module.build(channels, **choices.options)
    return pretext

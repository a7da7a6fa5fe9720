"""Pretexts: what an autoencoder is asked to do without labels, one file each.

A file offers `build(channels, **options) -> Pretext`; a YAML of its name in `configs/pretext/`
offers it to people.
"""

import importlib
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from birds.core.spec import PretextChoices, UserError


class Passage(NamedTuple):
    """Photos that went through an autoencoder: as they are, as the encoder saw them, and as they
    came out.

    `cost` is what the latent cost, in a shape of the pretext's choice; None where it is free.
    """

    photo: Float[Tensor, "B 3 H W"]
    shown: Float[Tensor, "B 3 H W"]
    restored: Float[Tensor, "B 3 H W"]
    cost: Tensor | None = None


class Pretext(nn.Module):
    """What happens to a photo on its way through an autoencoder, and what counts as loss. By
    default: nothing, MSE.
    """

    def corrupt(
        self, photo: Float[Tensor, "B 3 H W"], random: torch.Generator
    ) -> Float[Tensor, "B 3 H W"]:
        """The photo as the encoder gets to see it; all randomness from `random`, which lies on the
        photo's device.
        """
        return photo

    def latent(
        self, deepest: Float[Tensor, "B C h w"], random: torch.Generator
    ) -> tuple[Float[Tensor, "B C h w"], Tensor | None]:
        """The deepest features as the decoder gets to see them, and what they cost."""
        return deepest, None

    def prior(
        self, deepest: Float[Tensor, "B C h w"], random: torch.Generator
    ) -> Float[Tensor, "B C h w"] | None:
        """Latents like these drawn from nothing, where the pretext has a distribution of them."""
        return None

    def loss(self, passage: Passage, progress: float = 1.0) -> Float[Tensor, ""]:
        """The mean squared error of photos as fractions; `progress` is the share of training that
        is over.
        """
        return nn.functional.mse_loss(passage.restored, passage.photo)


def build_pretext(choices: PretextChoices, channels: int) -> Pretext:
    """The pretext of these choices for an encoder whose deepest level has `channels`. UserError:
    unknown ones.
    """
    try:
        module = importlib.import_module(f"birds.methods.pretraining.{choices.name}")
    except ModuleNotFoundError:
        raise UserError(
            f"pretext={choices.name} needs birds/methods/pretraining/{choices.name}.py, which does not exist"
        ) from None
    pretext: Pretext = module.build(channels, **choices.options)
    return pretext

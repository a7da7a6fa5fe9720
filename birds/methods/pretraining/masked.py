"""Masking: restore the photo from one with square patches hidden, a noise that no neighbouring
pixel betrays.

After He et al. (2022, arXiv:2111.06377), with a convolutional encoder that sees grey where a patch
is hidden. Salt and pepper on what is left comes with `noise`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from birds.methods.pretraining import Passage, Pretext
from birds.methods.pretraining.denoise import Denoise

GREY = 0.5


def hidden_patches(
    photo: Float[Tensor, "B 3 H W"], hidden: float, patch: int, random: torch.Generator
) -> Bool[Tensor, "B 1 H W"]:
    """Which pixels are hidden: `hidden` of each photo's patches of `patch` px, rounded to whole
    patches.
    """
    high, wide = photo.shape[2] // patch, photo.shape[3] // patch
    order = torch.rand((len(photo), high * wide), generator=random, device=photo.device).argsort(1)
    mask = (order < round(hidden * high * wide)).view(len(photo), 1, high, wide)
    return mask.repeat_interleave(patch, 2).repeat_interleave(patch, 3)


class Masked(Denoise):
    """`hidden` is the fraction of patches hidden, `patch` their side in pixels.

    `loss` says over which pixels the restored photo is judged: all, or hidden, those that were not
    shown as they are.
    """

    def __init__(self, hidden: float, patch: int, noise: float, loss: str) -> None:
        super().__init__(noise)
        self.hidden = hidden
        self.patch = patch
        self.over_hidden = loss == "hidden"

    def corrupt(
        self, photo: Float[Tensor, "B 3 H W"], random: torch.Generator
    ) -> Float[Tensor, "B 3 H W"]:
        """The photo with salt and pepper on it, then patches made grey."""
        shown = super().corrupt(photo, random) if self.noise else photo
        if not self.hidden:
            return shown
        return shown.masked_fill(hidden_patches(photo, self.hidden, self.patch, random), GREY)

    def loss(self, passage: Passage, progress: float = 1.0) -> Float[Tensor, ""]:
        """The mean squared error over all pixels or over the hidden ones."""
        if not self.over_hidden:
            return super().loss(passage, progress)
        changed = (passage.shown != passage.photo).any(1, keepdim=True).expand_as(passage.photo)
        error = F.mse_loss(passage.restored, passage.photo, reduction="none")
        return (error * changed).sum() / changed.sum().clamp(min=1)


def build(channels: int, hidden: float, patch: int, noise: float, loss: str) -> Pretext:
    """A masking pretext."""
    return Masked(hidden, patch, noise, loss)

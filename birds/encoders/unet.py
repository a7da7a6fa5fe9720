"""The encoder of a U-Net: a pyramid of maps, each with half the resolution of the one before.

It differs from Ronneberger et al. (2015, arXiv:1505.04597) in two ways. The stem folds blocks of
pixels into channels (space to depth), so no convolution runs at full resolution; that would take
most of the time, and a skip connection would pass the image on unchanged. And padding keeps the
sizes. The decoder is `birds.methods.decoder`, which works with any encoder that has maps.
"""

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from birds.core.spec import Choices, ImageChoices
from birds.encoders import Encoder

PIXEL_MEAN, PIXEL_SPREAD = 0.5, 0.25  # mean and spread with which images as fractions are scaled
GROUPS = 8  # groups of channels for norm=group, if the number of channels divides


def block(*channels: int, norm: str) -> nn.Sequential:
    """3x3 convolutions from each number of channels to the next, with normalisation and ReLU."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        normal: nn.Module = nn.BatchNorm2d(after)
        if norm == "group":
            normal = nn.GroupNorm(math.gcd(GROUPS, after), after)
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), normal]
        layers += [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(Encoder):
    """Image (B, C, H, W) -> maps (B, widths[k], H / (stem 2^k), W / (stem 2^k)), finest first."""

    class Options(Choices):
        """stem: the side, in pixels, of the blocks folded into channels; widths: channels of each
        level.
        """

        stem: Literal[1, 2, 4] = 2
        widths: Annotated[tuple[Annotated[int, Field(ge=4)], ...], Field(min_length=2)]
        norm: Literal["batch", "group"] = "batch"

    def __init__(self, options: Any, image: ImageChoices) -> None:
        super().__init__()
        self.channels = image.channels
        self.stem = options.stem
        self.map_widths = tuple(options.widths)
        depth = len(self.map_widths)
        self.map_strides = tuple(self.stem << level for level in range(depth))
        self.feature_dim = 2 * sum(self.map_widths)
        folded = self.channels * self.stem**2
        self.levels = nn.ModuleList(
            block(before, after, after, norm=options.norm)
            for before, after in pairwise((folded, *self.map_widths))
        )

    @classmethod
    def check(cls, options: Any, image: ImageChoices) -> None:
        """Raise ValueError for a size that is not a multiple of the deepest map's stride."""
        stride = options.stem << (len(options.widths) - 1)
        if image.size % stride:
            nearest = max(1, round(image.size / stride)) * stride
            raise ValueError(
                f"image.size={image.size} is not a multiple of {stride}, the stride of the "
                f"encoder's deepest map; choose image.size={nearest}"
            )

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """The pyramid, finest first."""
        x = F.pixel_unshuffle((image - PIXEL_MEAN) / PIXEL_SPREAD, self.stem)
        x = x.contiguous(memory_format=torch.channels_last)
        return _through(self.levels, x)

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """One group for each level."""
        return [list(level.parameters()) for level in self.levels]

    def for_export(self) -> nn.Module:
        """The same function without space to depth, which is slow in exported models."""
        return StridedUNet(self)


class StridedUNet(nn.Module):
    """The U-Net's encoder for pixels of 0 to 255; its stem is a strided convolution."""

    def __init__(self, encoder: UNet) -> None:
        super().__init__()
        first: Any = encoder.levels[0]
        stem, conv, rest = encoder.stem, first[0], list(first)[1:]
        strided = nn.Conv2d(
            encoder.channels, conv.out_channels, 3 * stem, stride=stem, padding=stem, bias=False
        )
        scaled = F.pixel_shuffle(conv.weight.detach(), stem) / (255 * PIXEL_SPREAD)
        strided.weight = nn.Parameter(scaled, requires_grad=False)
        self.levels = nn.ModuleList([nn.Sequential(strided, *rest), *list(encoder.levels)[1:]])

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """The pyramid, finest first."""
        return _through(self.levels, pixels - 255 * PIXEL_MEAN)


def _through(levels: nn.ModuleList, x: Tensor) -> list[Tensor]:
    pyramid: list[Tensor] = []
    for level in levels:
        x = level(F.max_pool2d(x, 2) if pyramid else x)
        pyramid.append(x)
    return pyramid

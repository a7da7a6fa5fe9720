"""The decoder of a U-Net for any encoder with maps; it is discarded after pretraining.

Plain skip connections can copy the image without using the deepest map. They can be limited in
three ways: dropped for some images in training, so that the deepest map alone must represent these
images; gated; or narrowed (docs/unet.md). Each level has one convolution and reduces the channels
before it upsamples. This halves the cost and leaves more of the work to the encoder.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from birds.encoders import Encoder
from birds.encoders.unet import PIXEL_MEAN, PIXEL_SPREAD, block

GATE = -4.0  # start value of a gate: its sigmoid is 0.018


class Gate(nn.Module):
    """Multiplies each channel by a learned factor between 0 and 1, which starts near 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.opening = nn.Parameter(torch.full((channels, 1, 1), GATE))

    def forward(self, skip: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The skip connection, with every channel scaled."""
        return skip * self.opening.sigmoid()


class Decoder(nn.Module):
    """Maps, finest first, to an image with pixels as fractions (0 to 1).

    Args:
        encoder: the encoder whose maps are decoded; it must have two or more.
        skips: gated, narrow (1x1 convolutions to `skip_channels`) or plain; dropout has plain skip
            connections, some of which are dropped in training.
        skip_channels: how many channels a narrow skip connection has.
        norm: batch or group.
    """

    def __init__(
        self, encoder: Encoder, skips: str = "plain", skip_channels: int = 0, norm: str = "batch"
    ) -> None:
        super().__init__()
        widths = encoder.map_widths
        self.fold = encoder.map_strides[0]
        fines = widths[:-1]
        through = [skip_channels if skips == "narrow" else fine for fine in fines]
        self.narrow = nn.ModuleList(nn.Conv2d(deep, fine, 1) for fine, deep in pairwise(widths))
        self.skips = nn.ModuleList(
            _skip(skips, fine, few) for fine, few in zip(fines, through, strict=True)
        )
        self.levels = nn.ModuleList(
            block(fine + few, fine, norm=norm) for fine, few in zip(fines, through, strict=True)
        )
        self.out = nn.Conv2d(widths[0], encoder.channels * self.fold**2, 1)

    def forward(
        self, maps: Sequence[Tensor], keep: Bool[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """The image restored from its maps. Where `keep` is false, an image gets no skip
        connections.
        """
        x = maps[-1]
        skips = [through(level) for through, level in zip(self.skips, maps[:-1], strict=True)]
        ways = zip(reversed(self.narrow), reversed(self.levels), reversed(skips), strict=True)
        for narrow, level, skip in ways:
            if keep is not None:
                skip = skip * keep[:, None, None, None].to(skip.dtype)
            enlarged = F.interpolate(narrow(x), size=skip.shape[2:])
            x = level(torch.cat([enlarged, skip], dim=1))
        restored = F.pixel_shuffle(self.out(x), self.fold)
        return PIXEL_MEAN + PIXEL_SPREAD * restored.float()


def _skip(skips: str, channels: int, few: int) -> nn.Module:
    if skips == "gated":
        return Gate(channels)
    if skips == "narrow":
        return nn.Conv2d(channels, few, 1)
    return nn.Identity()

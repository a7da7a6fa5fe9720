"""A U-Net whose encoder every variant shares.

It differs from Ronneberger et al. (2015, arXiv:1505.04597) in four ways. The stem folds blocks of
pixels into channels (space to depth), so no convolution runs at full resolution, where most of the
time goes and where a skip connection would let the photo through unchanged; padding keeps sizes;
and skip connections can be held back, since plain ones can copy the photo past the deepest level:
dropped per photo in training so that the deepest features must carry it alone part of the time,
gated, or narrowed (docs/unet.md). The decoder, which is thrown away after pretraining, has one
convolution a level and narrows before it enlarges: half the cost, and more of the work left to the
encoder.

Letters: B batch, C channels, H height, W width.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

PIXEL_MEAN, PIXEL_SPREAD = (
    0.5,
    0.25,
)  # of photos as fractions; fixed, so that the network carries its own scaling


GATE = -4.0  # where a gate starts: its sigmoid lets 1.8 % through
GROUPS = 8  # of channels, each normalised by itself, where their number divides


def _block(*channels: int, norm: str) -> nn.Sequential:
    """3x3 convolutions from each number of channels to the next, each normalised (batch or group)
    and with ReLU.
    """
    layers: list[nn.Module] = []
    for a, b in pairwise(channels):
        normal = nn.GroupNorm(math.gcd(GROUPS, b), b) if norm == "group" else nn.BatchNorm2d(b)
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), normal, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Gate(nn.Module):
    """Lets a learned share of each channel through, almost nothing at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.opening = nn.Parameter(torch.full((channels, 1, 1), GATE))

    def forward(self, skip: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return skip * self.opening.sigmoid()


class Encoder(nn.Module):
    """Photo (B, 3, H, W) of fractions -> feature pyramid, finest first: (B, widths[k], H / (stem
    2^k), ...).
    """

    def __init__(self, stem: int, widths: Sequence[int], norm: str = "batch") -> None:
        super().__init__()
        self.stem = stem
        self.widths = tuple(widths)
        self.norm = norm
        self.levels = nn.ModuleList(
            _block(a, b, b, norm=norm) for a, b in pairwise((3 * stem * stem, *widths))
        )

    def forward(self, photo: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        x = F.pixel_unshuffle((photo - PIXEL_MEAN) / PIXEL_SPREAD, self.stem)
        x = x.contiguous(memory_format=torch.channels_last)
        pyramid: list[Tensor] = []
        for level in self.levels:
            x = level(F.max_pool2d(x, 2) if pyramid else x)
            pyramid.append(x)
        return pyramid


class UNet(nn.Module):
    """An encoder and the decoder that turns its pyramid back into a photo.

    `skips` is what its skip connections are: gated, narrow (1x1 convolutions to `skip_channels`),
    or, whether they are dropped in training or not, plain.
    """

    def __init__(self, encoder: Encoder, skips: str = "plain", skip_channels: int = 0) -> None:
        super().__init__()
        self.encoder = encoder
        widths, fines = encoder.widths, encoder.widths[:-1]
        through = [skip_channels if skips == "narrow" else fine for fine in fines]
        self.narrow = nn.ModuleList(nn.Conv2d(deep, fine, 1) for fine, deep in pairwise(widths))
        self.skips = nn.ModuleList(
            _skip(skips, fine, few) for fine, few in zip(fines, through, strict=True)
        )
        self.levels = nn.ModuleList(
            _block(fine + few, fine, norm=encoder.norm)
            for fine, few in zip(fines, through, strict=True)
        )
        self.out = nn.Conv2d(widths[0], 3 * encoder.stem**2, 1)

    def decode(
        self, pyramid: Sequence[Tensor], keep: Bool[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B 3 H W"]:
        """The photo, as fractions, from its pyramid; photos that `keep` rules out go without their
        skip connections.
        """
        x = pyramid[-1]
        skips = [
            let_through(level) for let_through, level in zip(self.skips, pyramid[:-1], strict=True)
        ]
        ways = zip(reversed(self.narrow), reversed(self.levels), reversed(skips), strict=True)
        for narrow, level, skip in ways:
            if keep is not None:
                skip = skip * keep[:, None, None, None].to(skip.dtype)
            x = level(torch.cat([F.interpolate(narrow(x), scale_factor=2.0), skip], dim=1))
        restored = F.pixel_shuffle(self.out(x), self.encoder.stem)
        return PIXEL_MEAN + PIXEL_SPREAD * restored.float()


def _skip(skips: str, channels: int, few: int) -> nn.Module:
    if skips == "gated":
        return Gate(channels)
    return nn.Conv2d(channels, few, 1) if skips == "narrow" else nn.Identity()


def build(stem: int, widths: Sequence[int], norm: str) -> Encoder:
    """An untrained encoder: `stem` pixels a side folded into channels, one level for each of
    `widths`.
    """
    return Encoder(stem, widths, norm)

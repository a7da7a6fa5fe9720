"""Pooling of maps: mean and maximum over space, with a fast gradient."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class _MeanAndMaximum(torch.autograd.Function):
    """Mean (B, C) and maximum (B, C) over space of a map (B, C, H, W), as float32.

    Only the first position of a maximum gets its gradient. Sharing the gradient among equal
    positions (`amax`) and adding the two gradients of each map took ten times as long, a fifth of a
    classifier's step.
    """

    @staticmethod
    def forward(ctx: Any, level: Tensor) -> tuple[Tensor, Tensor]:
        maximum, place = F.adaptive_max_pool2d(level, 1, return_indices=True)
        ctx.save_for_backward(place.flatten(1))
        ctx.shape, ctx.kind = level.shape, level.dtype
        return level.mean((2, 3), dtype=torch.float32), maximum.flatten(1).float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (place,), (photos, channels, height, width) = ctx.saved_tensors, ctx.shape
        of_all, of_one = gradients[0] / (height * width), gradients[1]
        rows, columns = (torch.arange(count, device=place.device) for count in (photos, channels))
        each = of_all.to(ctx.kind)[:, None, None].expand(photos, height, width, channels)
        gradient: Tensor = each.contiguous()
        gradient.view(-1)[(rows[:, None] * height * width + place) * channels + columns] = (
            of_all + of_one
        ).to(each)
        return gradient.permute(0, 3, 1, 2)


def mean_and_maximum(maps: Sequence[Tensor]) -> Float[Tensor, "B F"]:
    """Mean and maximum over space of every map, concatenated. F is twice the sum of the maps'
    widths.
    """
    if torch.compiler.is_exporting():
        return _by_windows(maps)
    pool: Any = _MeanAndMaximum.apply
    means, maxima = zip(*(pool(level) for level in maps), strict=True)
    return torch.cat([*means, *maxima], dim=1)


def _by_windows(maps: Sequence[Tensor]) -> Float[Tensor, "B F"]:
    """The same as `mean_and_maximum`, computed by pooling with windows as large as the map.

    It can be exported, unlike a function with its own gradient, and exists in int8, unlike
    reductions.
    """
    means = [F.avg_pool2d(level, level.shape[-2:]) for level in maps]
    maxima = [F.max_pool2d(level, level.shape[-2:]) for level in maps]
    return torch.cat([*means, *maxima], dim=1).flatten(1)

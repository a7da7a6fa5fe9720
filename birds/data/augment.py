"""Augmentation of a batch on its device, from a table of numbers drawn beforehand.

View v of photo i always looks the same: its parameters come from (seed, v, i), never from the batch
it happens to be in. That is what lets a frozen encoder compute its features once per view.

Letters: N photos, B batch, C channels, H height, W width.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from birds.core.randomness import stream

COLUMNS = ("flip", "zoom", "right", "down", "angle", "brightness", "contrast", "saturation")


@lru_cache(maxsize=64)
def view_parameters(seed: int, view: int, photos: int, strength: float) -> NDArray[np.float32]:
    """How each of `photos` looks in one view: (photos, 8) of COLUMNS.

    flip -1 or 1; zoom 1 to 1 + 0.7 strength; right and down -1 to 1 of the room that the zoom
    leaves; angle within 0.25 strength radians; the colour factors within 0.3 strength of 1.
    """
    draw = stream(seed, "augment", view).uniform(-1, 1, (photos, len(COLUMNS)))
    flip = np.where(draw[:, :1] < 0, -1.0, 1.0)
    zoom = 1 + 0.35 * strength * (draw[:, 1:2] + 1)
    return np.hstack(
        [flip, zoom, draw[:, 2:4], 0.25 * strength * draw[:, 4:5], 1 + 0.3 * strength * draw[:, 5:]]
    ).astype(np.float32)


def to_float(photo: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Photos as fractions, 0 to 1, channels last in memory."""
    return photo.to(torch.float32, memory_format=torch.channels_last).div_(255)


def augment(
    photo: Float[Tensor, "B C H W"], parameters: Float[Tensor, "B 8"]
) -> Float[Tensor, "B C H W"]:
    """The photos as their parameters say: cropped, turned, mirrored, then recoloured and cut to 0
    to 1.
    """
    moved = F.grid_sample(
        photo, _grid(parameters, photo.shape), padding_mode="reflection", align_corners=False
    )
    return _recoloured(moved, parameters[:, 5:, None, None, None])


def _grid(parameters: Float[Tensor, "B 8"], shape: torch.Size) -> Float[Tensor, "B H W 2"]:
    """Where each pixel comes from: what its column gives plus what its row gives; `F.affine_grid`,
    faster.
    """
    flip, zoom, right, down, angle = parameters[:, :5, None].unbind(1)
    room = 1 - 1 / zoom
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    x, y = (_centres(side, parameters.device) for side in (shape[3], shape[2]))
    of_column = torch.stack([flip * cos * x + right * room, flip * sin * x + down * room], dim=-1)
    of_row = torch.stack([-sin * y, cos * y], dim=-1)
    return of_column[:, None] + of_row[:, :, None]


@lru_cache(maxsize=8)
def _centres(side: int, device: torch.device) -> Float[Tensor, " S"]:
    """The centres of a row's pixels, its ends at -1 and 1."""
    return (2 * torch.arange(side, device=device) + 1 - side) / side


def _recoloured(
    photo: Float[Tensor, "B C H W"], factors: Float[Tensor, "B 3 1 1 1"]
) -> Float[Tensor, "B C H W"]:
    """brightness (mean + contrast (grey + saturation (photo - grey) - mean)): a multiple of the
    photo and a rest.
    """
    brightness, contrast, saturation = factors.unbind(1)
    grey = photo.sum(1, keepdim=True) / 3  # faster than mean
    mean = grey.mean((2, 3), keepdim=True)
    rest = brightness * contrast * (1 - saturation) * grey + brightness * (1 - contrast) * mean
    return torch.addcmul(rest, photo, brightness * contrast * saturation).clamp_(0, 1)

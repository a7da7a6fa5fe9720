"""Augmentation of a batch on its device, from a table of numbers drawn beforehand.

View v of image i always looks the same: its parameters come from (seed, v, i), never from the batch
it happens to be in. That is what lets a frozen encoder compute its features once per view.

Letters: N images, B batch, C channels, H height, W width.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from birds.core.randomness import stream
from birds.core.spec import Looks

COLUMNS = ("flip", "zoom", "right", "down", "angle", "brightness", "contrast", "saturation")
AS_USUAL = Looks()


@lru_cache(maxsize=64)
def view_parameters(
    seed: int, view: int, images: int, strength: float, *, looks: Looks = AS_USUAL
) -> NDArray[np.float32]:
    """How each of `images` looks in one view: (images, 9) of COLUMNS and the shear.

    flip is -1 or 1 where `looks` allows mirroring, else 1; zoom is 1 to 1 + looks.zoom x strength,
    or below 1 where zooming out is allowed; right and down are -1 to 1 of the room that the zoom
    leaves; the angle is within looks.rotation x strength radians; the colour factors are within
    looks.colour x strength of 1; the shear is within looks.shear x strength.
    """
    random = stream(seed, "augment", view)
    draw = random.uniform(-1, 1, (images, len(COLUMNS)))
    flip = np.where(draw[:, :1] < 0, -1.0, 1.0) if looks.mirror else np.ones((images, 1))
    most = looks.zoom * strength
    zoom = 1 + 0.5 * most * (draw[:, 1:2] + 1)
    angle = looks.rotation * strength * draw[:, 4:5]
    colour = 1 + looks.colour * strength * draw[:, 5:]
    shear = np.zeros((images, 1))
    if looks.zoom_out or looks.shear:
        further = random.uniform(-1, 1, (images, 2))
        zoom = zoom / (1 + 0.5 * looks.zoom_out * strength * (further[:, :1] + 1))
        shear = looks.shear * strength * further[:, 1:]
    return np.hstack([flip, zoom, draw[:, 2:4], angle, colour, shear]).astype(np.float32)


def to_float(image: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Images as fractions, 0 to 1, channels last in memory."""
    return image.to(torch.float32, memory_format=torch.channels_last).div_(255)


def augment(
    image: Float[Tensor, "B C H W"], parameters: Float[Tensor, "B 9"]
) -> Float[Tensor, "B C H W"]:
    """The images as their parameters say: cropped, turned, mirrored, then recoloured and cut to 0
    to 1.
    """
    moved = F.grid_sample(
        image, _grid(parameters, image.shape), padding_mode="reflection", align_corners=False
    )
    return _recoloured(moved, parameters[:, 5:8, None, None, None])


def _grid(parameters: Float[Tensor, "B 9"], shape: torch.Size) -> Float[Tensor, "B H W 2"]:
    """Where each pixel comes from: what its column gives plus what its row gives; `F.affine_grid`,
    faster.
    """
    flip, zoom, right, down, angle = parameters[:, :5, None].unbind(1)
    room = 1 - 1 / zoom
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    x, y = (_centres(side, parameters.device) for side in (shape[3], shape[2]))
    of_column = torch.stack([flip * cos * x + right * room, flip * sin * x + down * room], dim=-1)
    shear = parameters[:, 8:9]
    of_row = torch.stack([(shear * cos - sin) * y, (shear * sin + cos) * y], dim=-1)
    return of_column[:, None] + of_row[:, :, None]


@lru_cache(maxsize=8)
def _centres(side: int, device: torch.device) -> Float[Tensor, " S"]:
    """The centres of a row's pixels, its ends at -1 and 1."""
    return (2 * torch.arange(side, device=device) + 1 - side) / side


def _recoloured(
    image: Float[Tensor, "B C H W"], factors: Float[Tensor, "B 3 1 1 1"]
) -> Float[Tensor, "B C H W"]:
    """brightness (mean + contrast (grey + saturation (image - grey) - mean)): a multiple of the
    image and a rest.
    """
    brightness, contrast, saturation = factors.unbind(1)
    grey = image.sum(1, keepdim=True) / image.shape[1]  # faster than mean
    mean = grey.mean((2, 3), keepdim=True)
    rest = brightness * contrast * (1 - saturation) * grey + brightness * (1 - contrast) * mean
    return torch.addcmul(rest, image, brightness * contrast * saturation).clamp_(0, 1)

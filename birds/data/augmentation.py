"""Augments a batch on its device, with parameters that were drawn before.

View v of image i is always the same: its parameters depend on (seed, v, i), never on the batch. So
a frozen encoder needs to compute its features only once per view.

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
    """The parameters of every image in one view, (images, 9): COLUMNS and then the shear.

    flip is -1 or 1 if `looks` allows mirroring, else 1. zoom is 1 to 1 + looks.zoom x strength, or
    below 1 if zooming out is allowed. right and down are -1 to 1 in units of the margin that the
    zoom leaves. The angle is at most looks.rotation x strength radians. The colour factors differ
    from 1 by at most looks.colour x strength. The shear is at most looks.shear x strength.
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
    """Images with values 0 to 1, channels last in memory."""
    return image.to(torch.float32, memory_format=torch.channels_last).div_(255)


def augment(
    image: Float[Tensor, "B C H W"], parameters: Float[Tensor, "B 9"]
) -> Float[Tensor, "B C H W"]:
    """The images after augmentation: cropped, rotated, mirrored, recoloured, and clipped to
    0..1.
    """
    moved = F.grid_sample(
        image, _grid(parameters, image.shape), padding_mode="reflection", align_corners=False
    )
    return _recoloured(moved, parameters[:, 5:8, None, None, None])


def _grid(parameters: Float[Tensor, "B 9"], shape: torch.Size) -> Float[Tensor, "B H W 2"]:
    """The source position of each pixel, as `F.affine_grid` but faster: a term of its column plus a
    term of its row.
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
    """The centres of the pixels of a row whose ends are at -1 and 1."""
    return (2 * torch.arange(side, device=device) + 1 - side) / side


def _recoloured(
    image: Float[Tensor, "B C H W"], factors: Float[Tensor, "B 3 1 1 1"]
) -> Float[Tensor, "B C H W"]:
    """brightness x (mean + contrast x (grey + saturation x (image - grey) - mean)), clipped to
    0..1.

    It is computed as a multiple of the image plus a rest.
    """
    brightness, contrast, saturation = factors.unbind(1)
    grey = image.sum(1, keepdim=True) / image.shape[1]  # faster than mean
    mean = grey.mean((2, 3), keepdim=True)
    rest = brightness * contrast * (1 - saturation) * grey + brightness * (1 - contrast) * mean
    return torch.addcmul(rest, image, brightness * contrast * saturation).clamp_(0, 1)

"""Small parts without a command line."""

from __future__ import annotations

from typing import Any

import torch

from birds.core.spec import ImageChoices, Part
from birds.encoders import create_encoder

WIDTHS = (8, 12, 16)


def unet(
    *, stem: int = 2, norm: str = "batch", channels: Any = 3, size: int = 64, seed: int = 0
) -> Any:
    """A U-Net's encoder with three levels."""
    torch.manual_seed(seed)
    options = {"stem": stem, "widths": WIDTHS, "norm": norm}
    part = Part(name="unet_small", part="unet", options=options)
    return create_encoder(part, ImageChoices(size=size, channels=channels))

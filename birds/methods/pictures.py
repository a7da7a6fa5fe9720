"""Pictures of restored photos next to their corrupted inputs, and contact sheets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from birds.core.store import write_atomically
from birds.data.module import ImageData

SHOWN = 8


def pixels_of(image: Float[Tensor, "B C H W"]) -> NDArray[np.uint8]:
    """Images as fractions (0 to 1) to uint8 (B, H, W, 3); grey ones get three equal channels."""
    colour = image.float().clamp(0, 1).expand(-1, 3, -1, -1)
    array: NDArray[np.uint8] = (colour * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return array


def tiled(rows: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """One picture with rows of photos, each (B, H, W, 3), one below the other."""
    return Image.fromarray(
        np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    )


def save_picture(image: Image.Image, path: Path) -> Path:
    """Write a PNG atomically, so that the file is never incomplete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: image.save(file, format="PNG"))
    return path


@torch.no_grad()
def save_reconstructions(method: Any, data: ImageData, path: Path) -> Path:
    """Save a picture of eight validation images, one row each of: the image, the encoder's input,
    the restored image, and the image restored without skip connections.

    For a variational autoencoder, a last row shows images decoded from random latents.
    """
    method.eval()
    image = next(data.evaluation_batches("valid"))["image"]
    image = image[:: max(1, len(image) // SHOWN)][:SHOWN].to(method.device)
    none = torch.zeros(len(image), dtype=torch.bool, device=image.device)
    whole, without = method.ways(image, method.random("pictures"), None, none)
    rows = [image, whole.shown, whole.restored, without.restored]
    drawn = method.drawn(image, method.random("pictures"))
    if drawn is not None:
        rows.append(drawn)
    return save_picture(tiled([pixels_of(row) for row in rows]), path)

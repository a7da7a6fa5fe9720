"""Pictures for people: restored photos beside what was shown, and contact sheets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from birds.core.randomness import stream_seed
from birds.core.store import write_atomically
from birds.data.module import BirdsDataModule
from birds.methods.pretraining.autoencoder import Reconstruct

SHOWN = 8


def pixels_of(photo: Float[Tensor, "B 3 H W"]) -> NDArray[np.uint8]:
    """Photos as fractions to uint8 (B, H, W, 3)."""
    array: NDArray[np.uint8] = (
        (photo.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    )
    return array


def tiled(rows: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """Rows of photos, each (B, H, W, 3), one under the other."""
    return Image.fromarray(
        np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    )


def save_picture(image: Image.Image, path: Path) -> Path:
    """Write a PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: image.save(file, format="PNG"))
    return path


@torch.no_grad()
def save_reconstructions(task: Reconstruct, data: BirdsDataModule, path: Path) -> Path:
    """Rows of eight validation photos: the photo, what the encoder was shown, restored, restored
    without skips.

    Where the pretext has a distribution of latents, a last row shows eight photos drawn from it,
    skips left out.
    """
    task.eval()
    photo = next(data.evaluation_batches("valid"))["photo"]
    photo = photo[:: max(1, len(photo) // SHOWN)][:SHOWN].to(task.device)

    def random() -> torch.Generator:
        return torch.Generator(task.device).manual_seed(stream_seed(task.spec.seed, "pictures"))

    none = torch.zeros(len(photo), dtype=torch.bool, device=photo.device)
    whole, without = task.ways(photo, random(), None, none)
    rows = [photo, whole.shown, whole.restored, without.restored]
    *fine, deepest = task.unet.encoder(photo)
    if (drawn := task.pretext.prior(deepest, random())) is not None:
        rows.append(task.unet.decode([*fine, drawn], none))
    return save_picture(tiled([pixels_of(x) for x in rows]), path)

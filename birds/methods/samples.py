"""Pictures of generated images: a grid for each epoch, an animation of them, an interpolation."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from birds.core.store import write_atomically
from birds.methods.generator import between
from birds.methods.pictures import pixels_of, save_picture, tiled

ACROSS = 8  # images in a row of a grid
STEPS = 10  # images in a row of an interpolation, its two ends included
FRAME, LAST_FRAME = 300, 2000  # milliseconds


def save_samples(images: Tensor, folder: Path, epoch: int) -> Path:
    """Save the grid of an epoch, `samples-001.png` for the first. Images are (B, C, H, W) as
    fractions.
    """
    rows = [pixels_of(row) for row in torch.split(images, ACROSS)]
    return save_picture(tiled(rows), folder / f"samples-{epoch + 1:03d}.png")


def save_animation(folder: Path) -> Path:
    """Save `samples.gif`: the grids of all epochs one after the other, in an endless loop."""
    frames = [Image.open(file).convert("RGB") for file in sorted(folder.glob("samples-*.png"))]
    milliseconds = [FRAME] * (len(frames) - 1) + [LAST_FRAME]
    path = folder / "samples.gif"
    write_atomically(
        path,
        lambda file: frames[0].save(
            file,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=milliseconds,
            loop=0,
        ),
    )
    return path


def save_interpolation(
    decode: Callable[[Tensor], Tensor],
    latents: Callable[[int, torch.Generator], Tensor],
    random: torch.Generator,
    folder: Path,
) -> Path:
    """Save `interpolation.png`: each row leads from one generated image to another.

    Args:
        decode: latent vectors (B, D) -> images (B, C, H, W) as fractions.
        latents: a count and a random generator -> as many latent vectors (B, D).
        random: the generator that the end points are drawn with.
        folder: where the picture is written.
    """
    one, other = latents(ACROSS, random), latents(ACROSS, random)
    images = decode(between(one, other, STEPS).flatten(0, 1))
    rows = [pixels_of(row) for row in torch.split(images, STEPS)]
    return save_picture(tiled(rows), folder / "interpolation.png")

"""Small data sets in memory: images of three classes with stripes, or of noise."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birds.core.spec import RunSpec
from birds.data.images import Images
from birds.data.module import ImageData
from birds.data.notes import Notes
from birds.data.split import Split, cut_of

CLASSES = ("A", "B", "C")  # the cut, and so the golden curve, depends on these names
DIRECTIONS = (
    (0, 1),
    (1, 0),
    (1, 1),
)  # direction of the stripes of each class: across, down, slanted
COUNTS = {"train": 12, "valid": 4, "test": 4}  # images of each class in each part


class NoSource:
    """The source of images in memory; no test may read images from it."""


def images(counts: dict[str, int] | None = None) -> Images:
    """A table with these numbers of images per class in each part; there are three classes."""
    counts = counts or COUNTS
    parts: list[str] = []
    for part, count in counts.items():
        parts += [part] * count
    total = 3 * len(parts)
    names = tuple(f"{k}.jpg" for k in range(total))
    label = np.repeat(np.arange(3), len(parts))
    source: Any = NoSource()
    return Images(source, CLASSES, names, label, np.array(parts * 3), names, Notes())


def noise_pixels(count: int = 60, size: int = 128, channels: int = 3) -> NDArray[np.uint8]:
    """Images (N, size, size, channels) of noise, whose classes cannot be distinguished."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def striped(direction: int, size: int, channels: int, random: Any) -> NDArray[np.uint8]:
    """One image (size, size, channels) with stripes in the direction of its class."""
    y, x = np.mgrid[0:size, 0:size]
    across, down = DIRECTIONS[direction]
    period = random.uniform(1.0, 1.6)
    wave = 0.5 + 0.4 * np.sin((across * x + down * y) / period + random.uniform(0, 6))
    tint = random.uniform(0.5, 1, channels)
    image = wave[..., None] * tint + random.normal(0, 0.05, (size, size, channels))
    found: NDArray[np.uint8] = (image.clip(0, 1) * 255).astype(np.uint8)
    return found


def striped_pixels(table: Images, size: int = 16, channels: int = 3) -> NDArray[np.uint8]:
    """An image for each row of a table; its class is the direction of its stripes."""
    random = np.random.default_rng(0)
    return np.stack([striped(int(k), size, channels, random) for k in table.label])


def cut(table: Images, run: RunSpec) -> Split:
    """A run's cut of a table."""
    return cut_of(table, split=run.split, labels_per_class=run.labels_per_class, seed=run.seed)


def data_for(run: RunSpec, *, hidden: int | None = None) -> ImageData:
    """Images of noise for a run. `hidden`: the wrong class that unlabelled images get."""
    table = images()
    split = cut(table, run)
    if hidden is not None:
        label = table.label.copy()
        label[split.unlabelled] = hidden
        table = dataclasses.replace(table, label=label)
    pixels = noise_pixels(len(table.ids), run.image.size, run.image.channels)
    return ImageData(run, table, pixels, split)


def striped_data_for(run: RunSpec) -> ImageData:
    """Striped images for a run, in the run's size and channels."""
    table = images()
    pixels = striped_pixels(table, run.image.size, run.image.channels)
    return ImageData(run, table, pixels, cut(table, run))


def write_striped(root: Path, size: int = 16, counts: dict[str, int] | None = None) -> Path:
    """A folder `part/CLASS/NNN.png` of striped images; PNG does not change the pixels."""
    table = images(counts)
    pixels = striped_pixels(table, size)
    for row, name in enumerate(table.ids):
        folder = root / str(table.part[row]) / CLASSES[int(table.label[row])]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[row]).save(folder / name.replace(".jpg", ".png"))
    return root


def write_table(root: Path) -> Path:
    """The striped images with a CSV that names the file, label and part of each."""
    write_striped(root)
    rows = ["file,label,part"]
    for file in sorted(root.rglob("*.png")):
        part, label, _ = file.relative_to(root).parts
        rows.append(f"{file.relative_to(root)},{label},{part}")
    (root / "images.csv").write_text("\n".join([*rows, ""]))
    return root


def write_idx(root: Path) -> Path:
    """The striped images in grey, in the four files of MNIST."""
    root.mkdir(parents=True)
    table = images()
    pixels = striped_pixels(table, channels=1)[..., 0]
    for part, prefix in (("train", "train"), ("test", "t10k")):
        rows = table.rows(part)
        header = struct.pack(">iiii", 0x0803, len(rows), *pixels.shape[1:])
        (root / f"{prefix}-images-idx3-ubyte").write_bytes(header + pixels[rows].tobytes())
        labels = table.label[rows].astype(np.uint8).tobytes()
        header = struct.pack(">ii", 0x0801, len(rows))
        (root / f"{prefix}-labels-idx1-ubyte").write_bytes(header + labels)
    return root

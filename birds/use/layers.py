"""Saves the vectors of a finished run's images from each layer of its encoder.

`analysis.layers` reads the file, without the network, to find the layer that separates the classes.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from birds.core.errors import UserError, nearest
from birds.core.randomness import stream
from birds.core.spec import RunSpec, read_spec
from birds.core.store import RunFolder, write_atomically
from birds.data.augmentation import to_float
from birds.data.module import ImageData
from birds.data.reopen import reopened
from birds.methods import load_method

BATCH = 64
LONGEST = 256  # values of a saved vector; longer ones by their first principal components


def save_layers(
    folder: RunFolder,
    names: Sequence[str] = (),
    images: int = 1000,
    data_root: Path | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """Write `study/layers.npz` into a run's folder; returns the file.

    It holds `names` (L,), `test_label`, `test_image` and `labelled_label`, and for layer k the
    vectors `test_k` and `labelled_k` (N, D), for at most `images` test images and twice as many
    labelled ones.

    Args:
        folder: of a finished classifier.
        names: which layers; by default all.
        images: how many test images at most.
        data_root, cache_dir: today's places of the images, if they differ from the record.

    Raises UserError for a run that is not finished or has no encoder, and for an unknown layer.
    """
    spec, encoder = _finished_encoder(folder)
    chosen = chosen_layers(encoder.layers(), names)
    data = reopened(folder, spec, data_root, cache_dir)
    arrays: dict[str, Any] = {"names": np.array(chosen), "seed": np.array(spec.seed)}
    rows = {"labelled": sample(data, "labelled", 2 * images), "test": sample(data, "test", images)}
    vectors = {part: layer_vectors(encoder, data, own, chosen) for part, own in rows.items()}
    for part, own in rows.items():
        arrays[f"{part}_label"] = data.label[own]
    arrays["test_image"] = np.array(data.images.ids)[rows["test"]]
    for number, name in enumerate(chosen):
        parts = shortened([vectors["labelled"][name], vectors["test"][name]])
        arrays[f"labelled_{number}"], arrays[f"test_{number}"] = parts
    file = folder.study / "layers.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, partial(np.savez_compressed, **arrays))
    return file


def _finished_encoder(folder: RunFolder) -> tuple[RunSpec, Any]:
    record = folder.record()
    if record is None:
        raise UserError(f"run {folder.key} is not finished; run it again with train.py")
    spec = read_spec(folder.spec_file.read_text())
    encoder = getattr(load_method(spec, folder, record.value("classes")), "encoder", None)
    if not hasattr(encoder, "layer_vectors"):
        raise UserError(f"run {folder.key} ({spec.title}) has no encoder with layers to explore")
    return spec, encoder


def chosen_layers(known: Sequence[str], asked: Sequence[str]) -> list[str]:
    """The layers that were asked for, in the network's order; all if none were named.

    Raises UserError, with the nearest name, for a layer that does not exist.
    """
    for name in asked:
        if name not in known:
            raise UserError(
                f"--layers {name}: the encoder has no such layer{nearest(name, list(known))}; "
                f"choose from {', '.join(known)}"
            )
    return [name for name in known if name in asked or not asked]


def sample(data: ImageData, part: str, most: int) -> NDArray[np.int64]:
    """At most `most` rows of a part, drawn with the data set's seed: the same for all runs."""
    rows = data.rows[part]
    if len(rows) <= most:
        return rows
    order = stream(data.spec.data.seed, f"layers of {part}").permutation(len(rows))
    return np.sort(rows[order[:most]])


@torch.no_grad()
def layer_vectors(
    encoder: Any, data: ImageData, rows: NDArray[np.int64], names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """For each layer, the vectors (N, D) of these images, without augmentation or dropout."""
    encoder.eval()
    device = next(encoder.parameters()).device
    found: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    for start in range(0, len(rows), BATCH):
        pixels = torch.from_numpy(data.decoded(rows[start : start + BATCH]))
        image = to_float(pixels.permute(0, 3, 1, 2).to(device))
        vectors = encoder.layer_vectors(image)
        for name in names:
            found[name].append(vectors[name].cpu())
    return {name: torch.cat(batches).numpy() for name, batches in found.items()}


def shortened(parts: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The vectors of several parts; long ones are reduced to their first principal components."""
    if parts[0].shape[1] <= LONGEST:
        return parts
    from sklearn.decomposition import PCA

    together = np.concatenate(parts)
    components = min(LONGEST, len(together))
    reduced = PCA(components, random_state=0).fit_transform(together).astype(np.float32)
    return [reduced[: len(parts[0])], reduced[len(parts[0]) :]]

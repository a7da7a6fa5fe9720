"""Writes the feature vectors of any images, computed by a finished run's encoder, to a file."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birds.core.feature_files import FeatureFile
from birds.core.spec import ImageChoices, UserError
from birds.core.store import RunFolder
from birds.data.decode import Unreadable, look_of
from birds.data.files import id_of
from birds.use.predict import decoded_batches, image_files

Encode = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def opened_encoder(folder: RunFolder) -> tuple[Encode, ImageChoices]:
    """The encoder of a finished pretraining or classifier, and the preprocessing of its images.

    The encoder is a function from uint8 (N, H, W, C) to features (N, F). Raises UserError when the
    run is not finished or has no network.
    """
    import torch

    from birds.core.spec import read_spec
    from birds.methods import load_method

    record = folder.record()
    if record is None:
        raise UserError(f"run {folder.key} is not finished; run it again with train.py")
    spec = read_spec(folder.spec_file.read_text())
    encoder = load_method(spec, folder, record.value("classes")).encoder.eval()

    @torch.no_grad()
    def encode(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        features: NDArray[np.float32] = encoder.features(pixels).float().numpy()
        return features

    return encode, spec.image


def embedded(
    encode: Encode, image: ImageChoices, root: Path, seen: Callable[[], object] = lambda: None
) -> tuple[FeatureFile, list[Path]]:
    """The features of every image below a folder, and the files that cannot be read.

    An image's id is its path below the folder. Raises UserError when there is no readable image.
    """
    return embedded_files(encode, image, image_files([root]), root, seen)


def embedded_files(
    encode: Encode,
    image: ImageChoices,
    files: Iterable[Path],
    root: Path,
    seen: Callable[[], object] = lambda: None,
) -> tuple[FeatureFile, list[Path]]:
    """The same as `embedded` for a list of files, in its order."""
    ids: list[str] = []
    blocks: list[NDArray[np.float32]] = []
    unreadable: list[Path] = []
    for batch, pixels in decoded_batches(files, look_of(image)):
        whole: list[NDArray[np.uint8]] = []
        for path, found in zip(batch, pixels, strict=True):
            seen()
            if isinstance(found, Unreadable):
                unreadable.append(path)
            else:
                whole.append(found)
                ids.append(id_of(str(path.relative_to(root))))
        if whole:
            blocks.append(encode(np.stack(whole)))
    if not blocks:
        raise UserError(f"{root} contains no image that can be read, in no subfolder either")
    return FeatureFile(tuple(ids), np.concatenate(blocks)), unreadable


def refuse_no_folder(root: Path) -> None:
    """Raise UserError unless `root` is a folder."""
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; give the folder of the images")

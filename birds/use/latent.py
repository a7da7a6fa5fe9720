"""Opens finished runs for their latent spaces: the encoders and the images.

The run's method defines its latent vectors (`method.latent`). The encoder at the start of the run
is opened, too: with random weights, or with its own pretrained weights.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from birds.core.spec import RunSpec, UserError, read_spec
from birds.core.store import RunFolder
from birds.data.module import ImageData
from birds.data.reopen import reopened
from birds.encoders import seeded_encoder
from birds.methods import load_method
from birds.methods.vectors import unlabelled_vectors

# The choices that determine the encoder at the start and the images.
START = {"data", "image", "split", "labels_per_class", "seed", "encoder"}


@dataclasses.dataclass(frozen=True)
class Opened:
    """A finished run with its images. `words` describe its encoder for people."""

    folder: RunFolder
    spec: RunSpec
    data: ImageData
    words: str
    encode: Callable[[Tensor], Float[Tensor, "B D"]]

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows of its unlabelled images, which are the images used here."""
        return self.data.rows["unlabelled"]

    @property
    def label(self) -> NDArray[np.int64]:
        """The true classes of these images; -1 for an image of unknown class."""
        return self.data.label[self.rows]

    @property
    def start(self) -> str:
        """A text that is equal for runs with the same encoder at the start and the same images."""
        count = len(self.data.pool)
        return f"{self.spec.model_dump_json(include=START)} {count}"

    def vectors(self) -> NDArray[np.float32]:
        """The latent vectors (N, D) of these images."""
        return unlabelled_vectors(self.encode, self.data)

    def vectors_at_start(self) -> NDArray[np.float32]:
        """The latent vectors (N, D) by the encoder at the start of the run."""
        encoder = seeded_encoder(self.spec).eval()
        return unlabelled_vectors(lambda image: encoder.latent_of(encoder(image)), self.data)

    def images(self) -> list[NDArray[np.uint8]]:
        """The unlabelled images for display, uint8 (H, W, C)."""
        return list(self.data.decoded(self.rows))

    def names(self) -> list[str]:
        """The images' names in the source, or in the folder of unlabelled images."""
        return self.data.names(self.rows)


def open_run(
    folder: RunFolder, data_root: Path | None = None, cache_dir: Path | None = None
) -> Opened:
    """The run, its encoder and its images.

    `data_root` and `cache_dir` are today's places of the files, if they differ from the record.
    Raises UserError when the run is not finished, or its checkpoint or its images are missing.
    """
    spec, method = _finished(folder)
    words = f"pretrained ({spec.variant})"
    if spec.stage == "classify":
        words = "its own, frozen" if _only_head(method) else "its own, trained with labels"
    data = reopened(folder, spec, data_root, cache_dir, with_pool=True)
    return Opened(folder, spec, data, words, method.latent)


def _finished(folder: RunFolder) -> tuple[RunSpec, Any]:
    record = folder.record()
    if record is None:
        raise UserError(f"run {folder.key} is not finished; run it again with train.py")
    spec = read_spec(folder.spec_file.read_text())
    return spec, load_method(spec, folder, record.value("classes"))


def _only_head(method: Any) -> bool:
    return bool(getattr(method, "head_alone", False))


def with_needs(folders: Sequence[RunFolder]) -> list[RunFolder]:
    """The runs, each once; before each come the runs that it needs, if their checkpoints still
    exist.
    """
    found: dict[str, RunFolder] = {}
    for folder in folders:
        spec = read_spec(folder.spec_file.read_text())
        for needed in spec.lineage():
            known = RunFolder(folder.path.parent, needed)
            is_asked_for = needed.key == folder.key
            if is_asked_for or known.checkpoint("best").exists():
                found[needed.key] = folder if is_asked_for else known
    return list(found.values())


def with_own_encoder(folders: Sequence[RunFolder]) -> list[RunFolder]:
    """The runs that trained an encoder.

    A classifier that trained only its head is replaced by the pretraining that it uses, if any.
    """
    found: dict[str, RunFolder] = {}
    for folder in folders:
        spec, method = _finished(folder)
        own = [RunFolder(folder.path.parent, needed) for needed in spec.needs]
        for one in own if _only_head(method) else [folder]:
            found[one.key] = one
    return list(found.values())

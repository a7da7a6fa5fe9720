"""Feature vectors from a file instead of a network, one row per image.

With this, the embeddings of any model, also of a zero-shot model, get the same splits, heads and
verdicts as the encoders here. The vectors cannot be trained, and images that are not in the file
have no features. Only heads that are fitted on frozen features work with it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from birds.core.errors import UserError
from birds.core.feature_files import read_features
from birds.core.files import PREFIX, find_file, identity_of
from birds.core.spec import Choices, ImageChoices
from birds.encoders import Encoder

SHOWN = 3  # how many missing images the message names


class Features(Encoder):
    """The vectors (N, F) of a file, found by the ids of images."""

    by_id = True

    class Options(Choices):
        """file: .parquet, .csv or .npz with an `id` column and the features (see
        `birds.core.feature_files`). Ids are the images' paths under `data.root`.
        """

        file: str | None = None

    def __init__(self, options: Any, image: ImageChoices) -> None:
        super().__init__()
        self.channels = image.channels
        self.file = options.file
        self.feature_dim = 1
        if not torch.zeros(1).is_meta:
            self.feature_dim = read_features(find_file(options.file)).features.shape[1]

    @classmethod
    def complete(cls, options: Any) -> Any:
        """The options with the file's SHA-256 in place of its path. Raises UserError when it cannot
        be used.
        """
        if not options.file:
            raise UserError(
                "encoder=features needs encoder.file=FILE, for example a file from birds embed"
            )
        if options.file.startswith(PREFIX):
            return options
        file = Path(options.file).expanduser()
        read_features(file)
        return options.model_copy(update={"file": identity_of(file)})

    @classmethod
    def blank(cls, options: Any, image: ImageChoices) -> Encoder:
        """The encoder without its file: a fitted head brings its own vectors."""
        with torch.device("meta"):
            return cls(options, image)

    def looked_up(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """The vectors (N, F) of images. Raises UserError if an image is not in the file."""
        found = read_features(find_file(self.file))
        place = {name: row for row, name in enumerate(found.ids)}
        missing = [name for name in ids if name not in place]
        if missing:
            names = ", ".join(missing[:SHOWN])
            raise UserError(
                f"encoder.file has no vector of {len(missing)} of {len(ids)} images, such as "
                f"{names}; it has ids such as {found.ids[0]}. Ids are paths under data.root: make "
                "the file with birds embed RUN DATA_ROOT --out FILE, or rename its ids"
            )
        return found.features[[place[name] for name in ids]]

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """Raises UserError, because there is no network."""
        raise UserError(
            "encoder=features has only the vectors in its file and no network, so it cannot encode "
            "other images; use the model that made the file, then birds quick or a sweep"
        )

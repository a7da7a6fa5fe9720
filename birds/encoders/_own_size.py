"""The base of encoders that read images in their own size and are fitted, such as visual words.

Such an encoder works in two steps. First it *describes* an image. This needs no fitted values, so
descriptions are kept on disk and shared by all runs. Then it *encodes* descriptions with the values
that a pretraining has fitted.

Letters: h, w an image's own height and width, K descriptors of an image, F features, N images.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from birds.core.spec import Choices, ImageChoices
from birds.encoders import Encoder


class Description(NamedTuple):
    """The descriptors of one image.

    place: (K, 2), x and y as fractions of the image's sides. values: the descriptors (K, D), uint8
    (bits are packed eight to a byte) or float32.
    """

    place: NDArray[np.float32]
    values: NDArray[Any]


class OwnSizeEncoder(Encoder):
    """An encoder of grey images of any size. It has no maps, no gradient and nothing to train."""

    own_size: ClassVar[bool] = True

    @classmethod
    def check(cls, options: Any, image: ImageChoices) -> None:
        """Accepts every size, because `image.size` is not used."""

    @classmethod
    def described_by(cls, options: Choices) -> dict[str, Any]:
        """The options and versions that `describe` uses: equal ones give equal descriptions."""
        raise NotImplementedError

    @abstractmethod
    def describe(self, image: UInt8[np.ndarray, "h w"]) -> Description:
        """The description of one grey image. It may be called from several threads at once."""

    @abstractmethod
    def encode(self, descriptions: Sequence[Description]) -> Float[np.ndarray, "N F"]:
        """The features of described images, float32; all zero for an image without descriptors."""

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """One vector (B, F) for each image, pixels as fractions (0 to 1), at its given size."""
        pixels = (image.detach().float().cpu() * 255).round().clamp(0, 255).to(torch.uint8)
        seen = [self.describe(grey(one)) for one in pixels.permute(0, 2, 3, 1).numpy()]
        return [torch.from_numpy(self.encode(seen)).to(image.device)]


def grey(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w"]:
    """The luminance (ITU-R 601-2) of a decoded image of one or three channels."""
    if image.shape[2] == 1:
        return np.ascontiguousarray(image[..., 0])
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).convert("L"))

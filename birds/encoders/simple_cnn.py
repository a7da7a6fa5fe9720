"""A small network for small images: two convolutions and two dense layers (LeCun et al. 1998).

The second dense layer is the head. The encoder's vector is the output of the first one.
"""

from typing import Annotated, Any

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from birds.core.spec import Choices, ImageChoices
from birds.encoders import Encoder

SMALLEST = 16  # pixels: two poolings leave a map of four cells a side


class SimpleCNN(Encoder):
    """Image (B, C, H, W) -> maps of half and a quarter of its side, then a vector (B, dense)."""

    class Options(Choices):
        """widths: channels of the two convolutions; dense: the length of the feature vector."""

        widths: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (32, 64)
        dense: Annotated[int, Field(ge=2)] = 128

    def __init__(self, options: Any, image: ImageChoices) -> None:
        super().__init__()
        first, second = options.widths
        self.channels = image.channels
        self.map_widths = (first, second)
        self.map_strides = (2, 4)
        self.feature_dim = options.dense
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(image.channels, first, 3, padding=1),
                nn.Conv2d(first, second, 3, padding=1),
            ]
        )
        self.dense = nn.Linear(second * (image.size // 4) ** 2, options.dense)

    @classmethod
    def check(cls, options: Any, image: ImageChoices) -> None:
        """Raise ValueError for a size that two poolings do not divide."""
        if image.size % 4 or image.size < SMALLEST:
            nearest = max(SMALLEST, round(image.size / 4) * 4)
            raise ValueError(
                f"image.size={image.size}: simple_cnn halves an image twice, so its size is a "
                f"multiple of 4 and {SMALLEST} or more; choose image.size={nearest}"
            )

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """Two maps and the vector."""
        outputs: list[Tensor] = []
        x = image
        for convolution in self.convolutions:
            x = F.max_pool2d(F.relu(convolution(x)), 2)
            outputs.append(x)
        outputs.append(F.relu(self.dense(x.flatten(1))))
        return outputs

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """One group for each layer."""
        layers = [*self.convolutions, self.dense]
        return [list(layer.parameters()) for layer in layers]

    def layers(self) -> list[str]:
        """The names of the two convolutions and the dense layer."""
        return ["convolution 1", "convolution 2", "dense"]

"""AlexNet in one column: five convolutions and two dense layers (Krizhevsky 2014, arXiv:1404.5997).

At 224 px its layers equal those of torchvision: 61,100,840 parameters with a last dense layer for
1000 classes, which belongs to the head here. Smaller images get a smaller first convolution,
because three poolings after a stride of four would leave nothing. The network has no maps: its
poolings cut off a border, so the cells of a map do not cover whole numbers of pixels.
"""

from typing import Annotated, Any

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from birds.core.spec import Choices, ImageChoices
from birds.encoders import Encoder

SMALLEST = 16  # pixels: three poolings leave one cell
CONVOLUTIONS = ((64, None), (192, 5), (384, 3), (256, 3), (256, 3))  # channels and kernel
POOLED = (0, 1, 4)  # indices of the convolutions before a pooling
DENSE = 4096
CELLS = 6  # largest side of the map before the first dense layer
STEMS = ((128, 11, 4, 2), (64, 7, 2, 3), (SMALLEST, 5, 1, 2))  # least size; kernel, stride, padding


class AlexNet(Encoder):
    """Image (B, C, H, W) -> the mean over space of each convolution, then both dense layers.

    The last vector, (B, 4096 x width), is the input of the original network's last layer.
    """

    class Options(Choices):
        """width: a factor to every layer's channels and units; 1 is the paper's network.

        dropout: the share of values that is set to zero before each of the two dense layers.
        """

        width: Annotated[float, Field(gt=0, le=4)] = 1.0
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5

    def __init__(self, options: Any, image: ImageChoices) -> None:
        super().__init__()
        self.channels = image.channels
        self.feature_dim = scaled(DENSE, options.width)
        self.dropout = nn.Dropout(options.dropout)
        kernel, stride, padding = stem_for(image.size)
        self.convolutions = nn.ModuleList()
        before: int = image.channels
        for channels, own_kernel in CONVOLUTIONS:
            after = scaled(channels, options.width)
            if own_kernel is None:
                layer = nn.Conv2d(before, after, kernel, stride, padding)
            else:
                layer = nn.Conv2d(before, after, own_kernel, padding=own_kernel // 2)
            self.convolutions.append(layer)
            before = after
        self.cells = min(CELLS, last_side(image.size))
        seen = before * self.cells**2
        self.dense = nn.ModuleList(
            [nn.Linear(seen, self.feature_dim), nn.Linear(self.feature_dim, self.feature_dim)]
        )

    @classmethod
    def check(cls, options: Any, image: ImageChoices) -> None:
        """Refuse a size for which three poolings leave no cell."""
        if image.size < SMALLEST:
            raise ValueError(
                f"image.size={image.size}: alexnet pools an image three times, so its size is "
                f"{SMALLEST} or more; choose image.size={SMALLEST}"
            )

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """A vector for each layer."""
        outputs: list[Tensor] = []
        x = image
        for number, convolution in enumerate(self.convolutions):
            x = F.relu(convolution(x))
            outputs.append(x.mean((2, 3)))
            if number in POOLED:
                x = F.max_pool2d(x, 3, 2)
        x = F.adaptive_avg_pool2d(x, self.cells).flatten(1)
        for dense in self.dense:
            x = F.relu(dense(self.dropout(x)))
            outputs.append(x)
        return outputs

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """One group for each layer."""
        return [list(layer.parameters()) for layer in (*self.convolutions, *self.dense)]

    def layers(self) -> list[str]:
        """The names of the five convolutions and the two dense layers."""
        convolutions = [f"convolution {k}" for k in range(1, len(self.convolutions) + 1)]
        return [*convolutions, "dense 1", "dense 2"]


def scaled(count: int, width: float) -> int:
    """The number of channels or units of a layer at a width; at least 1."""
    return max(1, round(count * width))


def stem_for(size: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of the first convolution for images of `size` pixels a side."""
    for smallest, kernel, stride, padding in STEMS:
        if size >= smallest:
            return kernel, stride, padding
    raise ValueError(f"size={size} is below {SMALLEST}")


def last_side(size: int) -> int:
    """The side, in cells, of the last map, after the third pooling."""
    kernel, stride, padding = stem_for(size)
    side = (size + 2 * padding - kernel) // stride + 1
    for _ in POOLED:
        side = (side - 3) // 2 + 1
    return side

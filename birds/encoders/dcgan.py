"""The discriminator of a DCGAN as an encoder: strided convolutions, leaky rectifiers, no pooling.

Radford et al. (2016, arXiv:1511.06434): every convolution halves the image, batch normalisation
follows all but the first, and initial weights are normal with standard deviation 0.02. The last
layer, which decides between real and generated images, belongs to the pretraining and is not
included.
"""

from typing import Annotated, Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from birds.core.spec import Choices, ImageChoices
from birds.encoders import Encoder

HALVINGS = {28: 2, 32: 3, 64: 4, 128: 5}  # by image size: to 7 x 7 cells for 28, else to 4 x 4
EXTRA_FILTERS = 32
LEAK = 0.2  # slope of the rectifiers below zero
DEVIATION = 0.02  # standard deviation of the initial weights


class DCGANDiscriminator(Encoder):
    """Image (B, C, H, W) -> maps with 1/2, 1/4, ... of its side; the first may be full size."""

    class Options(Choices):
        """The numbers of filters.

        width: filters of the first halving convolution; each further one has twice as many. extra:
        whether a layer of 32 filters that keeps the image's size comes first.
        """

        width: Annotated[int, Field(ge=2, le=512)] = 64
        extra: bool = False

    def __init__(self, options: Any, image: ImageChoices) -> None:
        super().__init__()
        halvings = HALVINGS[image.size]
        widths = [options.width * 2**k for k in range(halvings)]
        strides = [2 ** (k + 1) for k in range(halvings)]
        if options.extra:
            widths.insert(0, EXTRA_FILTERS)
            strides.insert(0, 1)
        self.channels = image.channels
        self.map_widths = tuple(widths)
        self.map_strides = tuple(strides)
        self.feature_dim = 2 * sum(widths)
        self.stages = nn.ModuleList()
        before = image.channels
        for number, after in enumerate(widths):
            keeps_size = options.extra and number == 0
            self.stages.append(_stage(before, after, keeps_size=keeps_size, norm=number > 0))
            before = after
        self.apply(start_as_dcgan)

    @classmethod
    def check(cls, options: Any, image: ImageChoices) -> None:
        """Refuse a size that this architecture does not support."""
        refuse_other_sizes("encoder=dcgan takes", image.size)

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """A map for each layer, finest first."""
        outputs: list[Tensor] = []
        x = 2 * image - 1
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """One group for each layer."""
        return [list(stage.parameters()) for stage in self.stages]

    def layers(self) -> list[str]:
        """The names of the convolutions in their order."""
        return [f"convolution {k}" for k in range(1, len(self.stages) + 1)]


def _stage(before: int, after: int, *, keeps_size: bool, norm: bool) -> nn.Sequential:
    """A convolution, a normalisation if `norm`, and a leaky rectifier."""
    kernel, stride = (3, 1) if keeps_size else (4, 2)
    layers: list[nn.Module] = [nn.Conv2d(before, after, kernel, stride, padding=1, bias=not norm)]
    if norm:
        layers.append(nn.BatchNorm2d(after))
    layers.append(nn.LeakyReLU(LEAK, inplace=True))
    return nn.Sequential(*layers)


def start_as_dcgan(module: nn.Module) -> None:
    """Draw a layer's weights as the paper does: N(0, 0.02), and N(1, 0.02) for a normalisation."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0, DEVIATION)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1, DEVIATION)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def refuse_other_sizes(who: str, size: int) -> None:
    """Raise ValueError, with the nearest valid size, if there is no architecture for this size.

    Args:
        who: the subject and the verb of the sentence, such as `encoder=dcgan takes`.
        size: the side of an image in pixels.
    """
    if size not in HALVINGS:
        *smaller, largest = map(str, HALVINGS)
        nearest = min(HALVINGS, key=lambda known: abs(known - size))
        raise ValueError(
            f"image.size={size}: {who} images of {', '.join(smaller)} or {largest} pixels; choose "
            f"image.size={nearest}"
        )

"""The generator of a DCGAN: from latent vectors to images; each layer doubles the image's side.

Radford et al. (2016, arXiv:1511.06434). A dense layer makes a small map of many channels, and
transposed convolutions with batch normalisation enlarge it. The last one ends in tanh, which is
scaled here to fractions, 0 to 1. The paper's latent values are uniform between -1 and 1; here they
are normal, as in most later implementations.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from birds.core.spec import ImageChoices
from birds.encoders.dcgan import HALVINGS, LEAK, start_as_dcgan

Activation = Literal["relu", "leaky_relu"]


class Generator(nn.Module):
    """Latent vectors (B, D) -> images (B, C, H, W), pixels as fractions (0 to 1).

    Args:
        image: the size and the channels of the images.
        latent: how many values a latent vector has.
        width: channels of the last hidden layer; each layer before it has twice as many.
        activation: relu, as in the paper, or leaky_relu.
    """

    def __init__(
        self,
        image: ImageChoices,
        *,
        latent: int,
        width: int,
        activation: Activation,
    ) -> None:
        super().__init__()
        doublings = HALVINGS[image.size]
        side = image.size // 2**doublings
        channels = width * 2 ** (doublings - 1)
        self.start = nn.Linear(latent, channels * side * side, bias=False)
        self.unflatten = nn.Unflatten(1, (channels, side, side))
        layers: list[nn.Module] = [nn.BatchNorm2d(channels), _rectifier(activation)]
        for _ in range(doublings - 1):
            after = channels // 2
            layers.append(nn.ConvTranspose2d(channels, after, 4, 2, padding=1, bias=False))
            layers += [nn.BatchNorm2d(after), _rectifier(activation)]
            channels = after
        layers.append(nn.ConvTranspose2d(channels, image.channels, 4, 2, padding=1))
        self.layers = nn.Sequential(*layers)
        self.apply(start_as_dcgan)

    def forward(self, latent: Float[Tensor, "B D"]) -> Float[Tensor, "B C H W"]:
        """An image for each latent vector."""
        small = self.unflatten(self.start(latent)).contiguous(memory_format=torch.channels_last)
        drawn: Tensor = self.layers(small).float()
        return 0.5 + 0.5 * drawn.tanh()


def _rectifier(activation: Activation) -> nn.Module:
    """ReLU as in the paper's generator, or leaky ReLU as in its discriminator."""
    return nn.ReLU(inplace=True) if activation == "relu" else nn.LeakyReLU(LEAK, inplace=True)


def between(
    one: Float[Tensor, "B D"], other: Float[Tensor, "B D"], steps: int
) -> Float[Tensor, "B K D"]:
    """`steps` latent vectors on the arc from each vector to another, both ends included.

    Spherical interpolation (White 2016, arXiv:1609.04468): normal latent vectors of many values
    have nearly equal lengths, and a straight line would pass through much shorter ones.
    """
    share = torch.linspace(0, 1, steps, device=one.device)[None, :, None]
    cosine = nn.functional.cosine_similarity(one, other, dim=1).clamp(-1, 1)
    angle = cosine.acos().clamp(1e-4, torch.pi - 1e-4)[:, None, None]
    from_one = ((1 - share) * angle).sin() / angle.sin()
    from_other = (share * angle).sin() / angle.sin()
    return from_one * one[:, None] + from_other * other[:, None]

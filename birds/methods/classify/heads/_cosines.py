"""Cosines between features and class means, as a network."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Cosines(nn.Module):
    """Features (B, F) to logits (B, S): cosines to the class means, divided by a temperature.

    The bias is 0, and very low for classes without a labelled image.
    """

    centre: Tensor
    means: Tensor
    bias: Tensor
    temperature: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("means", torch.zeros(classes, features))
        self.register_buffer("bias", torch.zeros(classes))
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B S"]:
        """The logits of features."""
        directions = nn.functional.normalize(features - self.centre, dim=1)
        return directions @ self.means.T / self.temperature + self.bias

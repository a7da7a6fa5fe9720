"""One pooled head for every variant: mean and maximum of every level of the pyramid, then a linear layer."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def pooled(pyramid: Sequence[Tensor]) -> Float[Tensor, "B F"]:
    """Mean and maximum over space of every level, side by side: F is twice the sum of the levels' widths."""
    maps = [level.float() for level in pyramid]
    return torch.cat([level.mean((2, 3)) for level in maps] + [level.amax((2, 3)) for level in maps], dim=1)


class Head(nn.Module):
    """Features (B, F) -> logits (B, species). BatchNorm brings levels of different size to one scale."""

    def __init__(self, features: int, species: int, dropout: float) -> None:
        super().__init__()
        self.scale = nn.BatchNorm1d(features)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, species)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B S"]:
        logits: Tensor = self.linear(self.dropout(self.scale(features)))
        return logits

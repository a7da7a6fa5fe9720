"""A linear layer on normalised features."""

from typing import Annotated, Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from birds.core.spec import Choices


class Linear(nn.Module):
    """Features (B, F) -> logits (B, S). BatchNorm first brings all features to the same scale."""

    by_gradient = True

    class Options(Choices):
        """dropout: the share of features that is set to zero in each training step."""

        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2

    def __init__(self, options: Any, features: int, classes: int) -> None:
        super().__init__()
        self.scale = nn.BatchNorm1d(features)
        self.dropout = nn.Dropout(options.dropout)
        self.linear = nn.Linear(features, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @classmethod
    def check(cls, options: Any, classifier: Any, spec: Any) -> None:
        """Accepts every combination."""

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B S"]:
        """The logits."""
        logits: Tensor = self.linear(self.dropout(self.scale(features)))
        return logits

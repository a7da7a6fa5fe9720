"""Two layers on normalised features."""

from typing import Annotated, Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from birds.core.spec import Choices


class MLP(nn.Module):
    """Features (B, F) -> logits (B, S) through one hidden layer."""

    by_gradient = True

    class Options(Choices):
        """hidden: units of the hidden layer; dropout: the share left out of a training step."""

        hidden: Annotated[int, Field(ge=1)] = 256
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2

    def __init__(self, options: Any, features: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(features),
            nn.Linear(features, options.hidden),
            nn.ReLU(),
            nn.Dropout(options.dropout),
            nn.Linear(options.hidden, classes),
        )

    @classmethod
    def check(cls, options: Any, classifier: Any, spec: Any) -> None:
        """Every combination makes sense."""

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B S"]:
        """The logits."""
        logits: Tensor = self.layers(features)
        return logits

"""A multilayer perceptron on normalised features."""

from typing import Annotated, Any, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from birds.core.spec import Choices

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU}


class MLP(nn.Module):
    """Features (B, F) -> logits (B, S), with one or more hidden layers."""

    by_gradient = True

    class Options(Choices):
        """layers: how many hidden layers; hidden: units of each; activation: after each hidden
        layer.

        dropout: the share of units that is set to zero in a training step, after each hidden layer.
        """

        layers: Annotated[int, Field(ge=1, le=8)] = 1
        hidden: Annotated[int, Field(ge=1)] = 256
        activation: Literal["relu", "leaky_relu", "gelu"] = "relu"
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2

    def __init__(self, options: Any, features: int, classes: int) -> None:
        super().__init__()
        modules: list[nn.Module] = [nn.BatchNorm1d(features)]
        before = features
        for _ in range(options.layers):
            modules += [nn.Linear(before, options.hidden), ACTIVATIONS[options.activation]()]
            modules.append(nn.Dropout(options.dropout))
            before = options.hidden
        self.layers = nn.Sequential(*modules, nn.Linear(before, classes))

    @classmethod
    def check(cls, options: Any, classifier: Any, spec: Any) -> None:
        """Accepts every combination."""

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B S"]:
        """The logits."""
        logits: Tensor = self.layers(features)
        return logits

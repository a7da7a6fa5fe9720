"""What encoders of the libraries share: weights, their scaling of pixels, what is missing here."""

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from birds.core.errors import UserError
from birds.core.spec import Choices, ImageChoices
from birds.encoders import Encoder
from birds.encoders._weights import identified

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SPREAD = (0.229, 0.224, 0.225)


class BackboneOptions(Choices):
    """model: the library's name for it.

    weights: none, pretrained (of the library's hub), a file or a folder. match: whether tensors of
    a file are matched by their names or by their order. mean, spread: what pixels as fractions are
    scaled by; null for what belongs to the model.
    """

    model: str
    weights: str = "none"
    match: Literal["names", "order"] = "names"
    mean: tuple[float, float, float] | None = None
    spread: tuple[float, float, float] | None = None


class Backbone(Encoder):
    """An encoder around a library's network."""

    Options: ClassVar[type[Choices]] = BackboneOptions
    mean: Tensor
    spread: Tensor

    @classmethod
    def complete(cls, options: Any) -> Any:
        """The options with the weights' SHA-256 in place of their path."""
        return options.model_copy(update={"weights": identified(options.weights)})

    @classmethod
    def sketch(cls, options: Any, image: ImageChoices) -> Encoder:
        """The encoder with random weights: not every library can build without memory."""
        return cls.blank(options, image)

    @classmethod
    def blank(cls, options: Any, image: ImageChoices) -> Encoder:
        """The encoder with random weights; no file is read."""
        without = options.model_copy(update={"weights": "none"})
        encoder: Encoder = cls(without, image)  # type: ignore[call-arg]
        return encoder

    def scale_by(self, mean: Any, spread: Any) -> None:
        """Remember how pixels as fractions are scaled."""
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(spread).view(-1, 1, 1), persistent=False)

    def scaled(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 3 H W"]:
        """The image in colour, scaled as the weights want it."""
        colour = image.expand(-1, 3, -1, -1)
        scaled: Tensor = (colour - self.mean) / self.spread
        return scaled


def missing_library(library: str, error: Exception) -> UserError:
    """What to say when a library cannot be imported."""
    if "torchvision::nms" in str(error):
        return UserError(
            f"{library} cannot be imported: torchvision was built for another PyTorch than the one "
            "installed. Install the pair that belongs together, as pytorch.org says"
        )
    return UserError(
        f"encoder={library} needs the package {library}: pip install 'birds-sweeps[encoders]' "
        f"({type(error).__name__}: {error})"
    )

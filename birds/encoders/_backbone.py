"""The base of encoders from libraries: weights, scaling of pixels, frozen BatchNorm, and messages
for an invalid image size or a missing library.
"""

from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from birds.core.broken_pair import broken_pair
from birds.core.errors import UserError, nearest
from birds.core.home import install
from birds.core.spec import Choices, ImageChoices
from birds.encoders import Encoder
from birds.encoders._weights import identified

SIZES = (32, 48, 64, 75, 96, 128, 160, 192, 224, 256, 299, 331, 384)  # suggested sizes


class BackboneOptions(Choices):
    """model: the library's name for it.

    weights: none, pretrained (from the library's hub), a file or a folder. match: whether tensors
    of a file are matched by their names or by their order. mean, spread: pixels as fractions minus
    mean, divided by spread; null takes the model's own. batchnorm: whether BatchNorm layers
    normalise by the batch and update their statistics, or keep the pretrained ones; auto is frozen
    with weights, and train without. preprocessing: for image.interpolation and image.crop_pct at
    auto: `model` takes the library's values for this model, `plain` the whole middle square,
    bicubic; auto is model for weights that the library knows, and plain for a file.
    """

    model: str
    weights: str = "none"
    match: Literal["names", "order"] = "names"
    mean: tuple[float, float, float] | None = None
    spread: tuple[float, float, float] | None = None
    batchnorm: Literal["auto", "train", "frozen"] = "auto"
    preprocessing: Literal["auto", "model", "plain"] = "auto"


class Backbone(Encoder):
    """An encoder built on a library's network."""

    Options: ClassVar[type[Choices]] = BackboneOptions
    mean: Tensor
    spread: Tensor
    norms_stay: bool = False

    @classmethod
    def complete(cls, options: Any) -> Any:
        """The options with the weights' SHA-256 in place of their path, and no `auto`."""
        weights = identified(options.weights)
        known = options.weights == "pretrained"
        return cls.settled(options.model_copy(update={"weights": weights}), known=known)

    @classmethod
    def settled(cls, options: Any, *, known: bool) -> Any:
        """The options with `auto` replaced; `known` says whether the library knows the weights."""
        norms, preprocessing = options.batchnorm, options.preprocessing
        if norms == "auto":
            norms = "train" if options.weights == "none" else "frozen"
        if preprocessing == "auto":
            preprocessing = "model" if known else "plain"
        return options.model_copy(update={"batchnorm": norms, "preprocessing": preprocessing})

    @staticmethod
    def wanted(options: Any, said: dict[str, Any]) -> dict[str, Any]:
        """The part of a library's preprocessing that is used: all of it, or only the size."""
        return said if options.preprocessing == "model" else {"size": said["size"]}

    @classmethod
    def sketch(cls, options: Any, image: ImageChoices) -> Encoder:
        """The encoder with random weights, without memory for them if the library allows it."""
        try:
            with torch.device("meta"):
                return cls.blank(options, image)
        except Exception:  # any error of a library; building it normally then gives the message
            return cls.blank(options, image)

    @classmethod
    def blank(cls, options: Any, image: ImageChoices) -> Encoder:
        """The encoder with random weights; no file is read."""
        without = options.model_copy(update={"weights": "none"})
        encoder: Encoder = cls(without, image)  # type: ignore[call-arg]
        return encoder

    def train(self, mode: bool = True) -> "Backbone":
        """Training mode; BatchNorm layers that keep their statistics stay in evaluation mode."""
        super().train(mode)
        if self.norms_stay:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def keep_norms(self, options: Any) -> None:
        """Remember whether BatchNorm layers keep their statistics."""
        self.norms_stay = options.batchnorm == "frozen"

    def measure(
        self, options: Any, image: ImageChoices, look: Callable[[Tensor], None], *, own: int
    ) -> None:
        """Send an empty image through the network, so that `look` can read the shapes of its
        outputs.

        Raises UserError, with a valid size, if the network cannot take the image's size; `own` is
        the size that it was trained with.
        """
        on_meta = any(parameter.is_meta for parameter in self.parameters())
        device = "meta" if on_meta else "cpu"
        self.eval()

        def looks(size: int) -> Exception | None:
            try:
                with torch.no_grad():
                    look(torch.zeros(1, 3, size, size, device=device))
            except Exception as error:  # libraries raise errors of many types
                return error
            return None

        error = looks(image.size)
        if error is not None:
            fitting = [s for s in SIZES if s > image.size and looks(s) is None]
            nearest_size = fitting[0] if fitting else own
            first_line = (str(error).splitlines() or [""])[0][:120]
            raise UserError(
                f"image.size={image.size}: {options.model} cannot take images of that size "
                f"({first_line}); choose image.size={nearest_size}"
            )
        self.train()

    def scale_by(self, mean: Any, spread: Any) -> None:
        """Store the mean and the spread with which pixels are scaled."""
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(spread).view(-1, 1, 1), persistent=False)

    def scaled(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 3 H W"]:
        """The image in colour, scaled as the weights need it."""
        colour = image.expand(-1, 3, -1, -1)
        scaled: Tensor = (colour - self.mean) / self.spread
        return scaled


def no_such_model(asked: str, known: Sequence[str]) -> str:
    """The end of the message "has no such model": the nearest name, or why there is none."""
    if asked.lower().replace("_", "").replace("-", "").startswith("nasnetmobile"):
        return (
            "; no library here has NASNetMobile, only Keras does. The nearest is encoder=timm "
            "encoder.model=nasnetalarge, 17 times as large"
        )
    return nearest(asked, known)


def library_version(library: str) -> str:
    """The name and the version of an installed library."""
    try:
        return f"{library} {metadata.version(library)}"
    except metadata.PackageNotFoundError:
        return library


def missing_library(encoder: str, library: str, error: Exception) -> UserError:
    """The error for a library that cannot be imported."""
    if cure := broken_pair(error):
        return UserError(f"encoder={encoder}: {library} cannot be imported. {cure}")
    return UserError(
        f"encoder={encoder} needs the package {library}: {install('encoders')} "
        f"({type(error).__name__}: {error})"
    )

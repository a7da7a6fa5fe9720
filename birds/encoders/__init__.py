"""Encoders turn an image into features; each has its own file.

An encoder gives maps of several scales, finest first, and then vectors; either may be missing.
Heads use the result of `pool`, decoders use the maps, and the latent space uses `latent_of`. No
code outside an encoder's file depends on how it is built.

Letters: B batch, C channels, H height, W width, F features, D latent values.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from birds.core.parts import options_of, part_class
from birds.core.randomness import stream_seed
from birds.core.spec import Choices, ImageChoices, Part, RunSpec
from birds.encoders._pooling import mean_and_maximum

_BLANK: ContextVar[bool] = ContextVar("blank", default=False)


class Encoder(nn.Module):
    """The interface of all encoders; subclasses build the network.

    by_id: whether it has no network and only looks up the features of listed images (`looked_up`).
    channels: of the images that it takes.
    feature_dim: the length of a pooled feature vector.
    map_widths, map_strides: for each map, finest first, its channels and the pixels per cell along
        one side; empty if the encoder has no maps.
    own_size: whether it reads grey images at their own size and is fitted without gradients; such
        an encoder inherits `OwnSizeEncoder`.
    """

    own_size: ClassVar[bool] = False
    Options: ClassVar[type[Choices]] = Choices

    by_id: ClassVar[bool] = False
    channels: int
    feature_dim: int
    map_widths: tuple[int, ...] = ()
    map_strides: tuple[int, ...] = ()

    @classmethod
    def check(cls, options: Any, image: ImageChoices) -> None:
        """Raise ValueError, with the nearest valid value, for a size or channels that it cannot
        take.
        """

    @classmethod
    def preferred(cls, options: Any) -> dict[str, Any]:
        """The preprocessing that its weights need: some of `size`, `crop_pct` and `interpolation`.

        These values are used where the configuration says `auto`.
        """
        return {}

    @classmethod
    def shared_by_heads(cls, options: Any) -> Any:
        """The options that a pretraining uses.

        Options that only change how features are computed afterwards are set to their defaults, so
        that different heads share one pretraining.
        """
        return options

    @classmethod
    def blank(cls, options: Any, image: ImageChoices) -> "Encoder":
        """The encoder with arbitrary weights, which will be replaced."""
        encoder: Encoder = cls(options, image)  # type: ignore[call-arg]
        return encoder

    @classmethod
    def sketch(cls, options: Any, image: ImageChoices) -> "Encoder":
        """The encoder without memory for its weights, for reading its shapes."""
        with torch.device("meta"):
            encoder: Encoder = cls(options, image)  # type: ignore[call-arg]
        return encoder

    def looked_up(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """The features (N, F) of images by their ids, for an encoder with `by_id`."""
        raise NotImplementedError

    @abstractmethod
    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """Maps (B, widths[k], H / strides[k], W / strides[k]), then vectors (B, any length).

        The image's pixels are fractions, 0 to 1; the encoder scales them itself.
        """
        raise NotImplementedError

    def maps(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """The maps among the outputs of `forward`, finest first."""
        return list(outputs[: len(self.map_widths)])

    def pool(self, outputs: Sequence[Tensor]) -> Float[Tensor, "B F"]:
        """The input of a head: the last vector, or else mean and maximum of every map,
        concatenated.
        """
        if len(outputs) > len(self.map_widths):
            return outputs[-1].float()
        return mean_and_maximum(outputs)

    def features(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """The pooled features of images, whose pixels are fractions (0 to 1)."""
        return self.pool(self(image))

    def latent_of(self, outputs: Sequence[Tensor]) -> Float[Tensor, "B D"]:
        """The latent vector: the last vector, or the mean over the deepest map's positions."""
        deepest = outputs[-1].float()
        return deepest.mean((2, 3)) if deepest.ndim == 4 else deepest

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Its parameters in groups from the input to the output."""
        return [list(self.parameters())]

    def for_export(self) -> nn.Module:
        """A network with the same outputs for pixels of 0 to 255."""
        return OnPixels(self)

    def layers(self) -> list[str]:
        """The names of its outputs, in their order: maps, then a vector if it has one.

        An encoder with several vectors overrides this.
        """
        names = [f"map {k}" for k in range(1, len(self.map_widths) + 1)]
        pooled_maps = 2 * sum(self.map_widths)
        return names if names and self.feature_dim == pooled_maps else [*names, "features"]

    def layer_vectors(self, image: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B D"]]:
        """Each output as a vector, by the name of its layer; maps are averaged over space."""
        vectors: dict[str, Tensor] = {}
        for name, output in zip(self.layers(), self(image), strict=True):
            flat = output.float()
            vectors[name] = flat.mean((2, 3)) if flat.ndim == 4 else flat
        return vectors


class OnPixels(nn.Module):
    """An encoder whose input has pixels of 0 to 255."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> list[Tensor]:
        outputs: list[Tensor] = self.encoder(pixels / 255)
        return outputs


def create_encoder(part: Part, image: ImageChoices) -> Encoder:
    """The encoder of this part for such images, with its initial or pretrained weights.

    Raises UserError for an unknown part and ValueError if it cannot take such images.
    """
    made_by = part_class("encoder", part.place)
    options = options_of("encoder", part)
    made_by.check(options, image)
    make = made_by.blank if _BLANK.get() else made_by
    encoder: Encoder = make(options, image)
    return encoder


def reads_own_size(spec: RunSpec) -> bool:
    """Whether a run's encoder reads grey images at their own size and ignores `image`."""
    found: bool = part_class("encoder", spec.encoder.place).own_size
    return found


@contextmanager
def blank_encoders() -> Iterator[None]:
    """Inside, encoders are made without their own weights, because a checkpoint's will follow."""
    token = _BLANK.set(True)
    try:
        yield
    finally:
        _BLANK.reset(token)


def seeded_encoder(spec: RunSpec) -> Encoder:
    """The encoder that a run starts from; its random weights are drawn with the run's seed.

    The random generator is not reset afterwards: the next parts of a method draw from it, too.
    """
    torch.manual_seed(stream_seed(spec.seed, "encoder"))
    return create_encoder(spec.encoder, spec.image)


def sketched_encoder(part: Part, image: ImageChoices) -> Encoder:
    """The encoder without its weights, for reading its shapes. Raises as `create_encoder` does."""
    made_by = part_class("encoder", part.place)
    options = options_of("encoder", part)
    made_by.check(options, image)
    encoder: Encoder = made_by.sketch(options, image)
    return encoder

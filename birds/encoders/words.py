"""A bag of visual words: how often each word of a vocabulary is seen in an image.

Csurka et al. (2004, "Visual categorization with bags of keypoints"), with a spatial pyramid as in
Lazebnik et al. (2006, 10.1109/CVPR.2006.68). The words are fitted by `pretraining=vocabulary`;
without it, the encoder has random words.

Letters: h, w an image's own height and width, K descriptors of an image, W words, D numbers of a
descriptor, F features, N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from birds.core.machine import cores
from birds.core.spec import Choices, ImageChoices
from birds.encoders._descriptors import KINDS, describe, opencv
from birds.encoders._own_size import Description, OwnSizeEncoder
from birds.encoders._words import histogram, nearest_words

DESCRIBING = ("descriptor", "long_side", "keypoints", "patch", "step")
SCALE_AT_START = 0.5  # share of a descriptor's length, used until a vocabulary is fitted


class Words(OwnSizeEncoder):
    """Grey image of any size -> a histogram (B, F) of visual words, F = words x cells."""

    class Options(Choices):
        """Which descriptors are computed, how many words there are, and how a histogram is made.

        words: how many. descriptor: the kind of local descriptor. long_side: images whose long side
        has more pixels are made smaller to this; null keeps their own size. keypoints: the most
        keypoints of an image, the strongest; 0 for all. patch, step: side and distance in pixels of
        the patches of dense_sift. matcher: how the nearest word is found, by comparing all or by
        FLANN's k-d trees, which are approximate (Muja and Lowe 2009). assignment: `hard` counts the
        nearest word, `soft` shares a descriptor among the `nearest` ones by a Gaussian of their
        distances (Philbin et al. 2008, 10.1109/CVPR.2008.4587635). normalisation: l1 (a sum of 1),
        l2 (a length of 1) or power, which is square roots and then l2 (Perronnin et al. 2010,
        10.1007/978-3-642-15561-1_11). levels: of the spatial pyramid, 1 for none; level k has 4^k
        cells.
        """

        words: Annotated[int, Field(ge=2, le=20_000)] = 250
        descriptor: Literal["sift", "dense_sift", "kaze", "orb", "fast_freak"] = "sift"
        long_side: Annotated[int, Field(ge=16)] | None = None
        keypoints: Annotated[int, Field(ge=0)] = 1000
        patch: Annotated[int, Field(ge=4, le=256)] = 16
        step: Annotated[int, Field(ge=1, le=256)] = 8
        matcher: Literal["brute_force", "flann"] = "brute_force"
        assignment: Literal["hard", "soft"] = "hard"
        nearest: Annotated[int, Field(ge=2, le=50)] = 5
        normalisation: Literal["l1", "l2", "power"] = "l1"
        levels: Annotated[int, Field(ge=1, le=4)] = 1

        @model_validator(mode="before")
        @classmethod
        def _unread_options_are_defaults(cls, values: Any) -> Any:
            """Remove options that these choices do not use, so that equal runs have one key."""
            if values.get("descriptor") == "surf":
                raise ValueError(
                    "encoder.descriptor=surf: SURF is patented, so OpenCV's wheels leave it out; "
                    "choose sift, dense_sift, kaze, orb or fast_freak"
                )
            dense = values.get("descriptor") == "dense_sift"
            unread = {"keypoints"} if dense else {"patch", "step"}
            if values.get("assignment") != "soft":
                unread |= {"nearest"}
            return {name: value for name, value in values.items() if name not in unread}

        @model_validator(mode="after")
        def _bits_are_compared_as_bits(self) -> Self:
            if not KINDS[self.descriptor].binary:
                return self
            if self.matcher == "flann":
                raise ValueError(
                    f"encoder.matcher=flann: its k-d trees search floats, and {self.descriptor} "
                    "gives bits; choose encoder.matcher=brute_force, which counts unequal bits"
                )
            if self.assignment == "soft":
                raise ValueError(
                    "encoder.assignment=soft: its Gaussian weighs distances of floats, and "
                    f"{self.descriptor} gives bits; choose encoder.assignment=hard"
                )
            return self

    def __init__(self, options: Any, image: ImageChoices) -> None:
        super().__init__()
        opencv()
        self.options = options
        self.kind = KINDS[options.descriptor]
        self.channels = image.channels
        self.feature_dim = options.words * sum(4**level for level in range(options.levels))
        drawn = self._drawn(options.words)
        self.vocabulary = nn.Parameter(drawn, requires_grad=False)
        self.register_buffer("scale", torch.full((1,), SCALE_AT_START * self.kind.norm))
        self._index: Any = None

    def _drawn(self, words: int) -> Float[Tensor, "W D"]:
        """Random words with the length and the range of descriptors."""
        if self.kind.binary:
            return torch.randint(0, 256, (words, self.kind.length)).float()
        drawn = torch.randn(words, self.kind.length)
        drawn = drawn if self.kind.signed else drawn.abs()
        scaled: Tensor = self.kind.norm * drawn / drawn.norm(dim=1, keepdim=True)
        return scaled

    @classmethod
    def shared_by_heads(cls, options: Any) -> Any:
        """The options that a vocabulary depends on; the others are set to their defaults."""
        read = {name: getattr(options, name) for name in ("words", *DESCRIBING)}
        return cls.Options.model_validate(read)

    @classmethod
    def described_by(cls, options: Any) -> dict[str, Any]:
        """The options that `describe` uses, and OpenCV's version."""
        read = {name: getattr(options, name) for name in DESCRIBING}
        return read | {"opencv": str(opencv().__version__)}

    def take_vocabulary(self, words: Float[np.ndarray, "W D"], scale: float) -> None:
        """Use these words, whose bits are packed in bytes; `scale` is the mean distance to the
        nearest.
        """
        self.vocabulary.data = torch.from_numpy(np.ascontiguousarray(words, np.float32))
        self.scale = torch.full((1,), float(scale))
        self._index = None

    def describe(self, image: UInt8[np.ndarray, "h w"]) -> Description:
        """The local descriptors of one grey image."""
        return describe(image, self.options)

    def encode(self, descriptions: Sequence[Description]) -> Float[np.ndarray, "N F"]:
        """Normalised histograms of words; all zero for an image without a keypoint."""
        encoded = np.zeros((len(descriptions), self.feature_dim), np.float32)
        find = nearest_words(self.options, self.kind, self.vocabulary.detach().cpu().numpy())
        scale = float(self.scale)

        def fill(row: int) -> None:
            seen = descriptions[row]
            if len(seen.values):
                encoded[row] = histogram(seen.place, *find(seen.values), scale, self.options)

        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(fill, range(len(descriptions))))
        return encoded

    def nearest_distances(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """The distances (K,) of descriptors (K, D) to their nearest word, Euclidean or in unequal
        bits.
        """
        find = nearest_words(self.options, self.kind, self.vocabulary.detach().cpu().numpy())
        return find(values)[1][:, 0]

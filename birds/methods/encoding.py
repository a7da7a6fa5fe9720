"""Computes the features of a frozen encoder with PyTorch or with ONNX Runtime.

ONNX Runtime computes in fp32 with BatchNorm folded into convolutions, which PyTorch on a CPU does
not do. Its graph has to be exported first, which takes seconds; decision 099 has the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from birds.core.errors import UserError
from birds.core.home import install
from birds.encoders import Encoder
from birds.methods import Job
from birds.methods.onnx_graph import onnx_graph

TOLERANCE = 1e-4  # largest difference from PyTorch's fp32, as a share of the largest feature
IMAGE, FEATURES = "image", "features"
Encode = Callable[[Tensor], Tensor]  # fractions (B, C, H, W) -> features (B, F)


class PooledFeatures(nn.Module):
    """An encoder in its form for export, with one output: images (B, C, H, W), pixels as fractions
    (0 to 1), to features (B, F).
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.on_pixels = encoder.for_export()

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """The pooled features, float32."""
        return self.encoder.pool(self.on_pixels(image * 255)).float()


class Compared(NamedTuple):
    """A function that encodes images, and the difference of its features from PyTorch's in fp32.

    The difference is a share of the largest feature.
    """

    encode: Encode
    difference: float


_KEPT: WeakKeyDictionary[Encoder, Compared] = WeakKeyDictionary()  # an export takes seconds


def encoding(encoder: Encoder, job: Job, way: str, first: Float[Tensor, "B C H W"]) -> Encode:
    """The function that encodes batches of images for this run.

    Args:
        encoder: frozen, on the run's device.
        way: eager or onnx.
        first: some images as fractions, on which ONNX Runtime is compared with PyTorch.

    Raises UserError if ONNX Runtime is asked for and cannot run the encoder.
    """
    if way == "eager":
        return encoder.features
    if job.machine.device.type != "cpu":
        raise UserError("encode=onnx works only with device=cpu; choose encode=eager")
    return kept_in_onnx(encoder, first, job).encode


def encode_record(encoder: Encoder, way: str) -> dict[str, Any]:
    """The record's columns: the way and, if ONNX Runtime encoded images here, the largest
    difference from PyTorch's fp32 features, as a share of the largest feature.
    """
    kept = _KEPT.get(encoder) if way == "onnx" else None
    return {"encode": way} | ({"encode_difference": kept.difference} if kept else {})


def kept_in_onnx(encoder: Encoder, first: Float[Tensor, "B C H W"], job: Job) -> Compared:
    """`through_onnx`, once for each encoder."""
    if encoder not in _KEPT:
        _KEPT[encoder] = through_onnx(encoder, first, job.machine.threads)
        difference = _KEPT[encoder].difference
        job.say(f"ONNX Runtime: features within {difference:.1g} of PyTorch's in fp32")
    return _KEPT[encoder]


def through_onnx(encoder: Encoder, first: Float[Tensor, "B C H W"], threads: int) -> Compared:
    """The encoder in ONNX Runtime, compared with PyTorch in fp32 on some images.

    Raises UserError when a package is missing, the encoder cannot be exported, or its features
    differ by more than TOLERANCE.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (the exporter needs it)
    except ImportError as error:
        raise UserError(
            f"encode=onnx needs the package {error.name}: {install('quantize')}"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    example = first.new_zeros((2, *first.shape[1:]))
    axes = {"image": {0: torch.export.Dim("B")}}
    try:
        with torch.autocast("cpu", enabled=False):
            network = PooledFeatures(encoder).eval()
            graph = onnx_graph(network, example, IMAGE, FEATURES, axes)
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # any error, because both raise many types for unknown operations
        kind = type(error).__name__
        raise UserError(
            f"encode=onnx: this encoder cannot be exported ({kind}); choose encode=eager"
        ) from None

    def encode(image: Tensor) -> Tensor:
        (features,) = session.run(None, {IMAGE: image.contiguous().numpy()})
        return torch.from_numpy(np.asarray(features))

    difference = _difference(encode, encoder, first)
    _refuse_large(difference)
    return Compared(encode, difference)


def _refuse_large(difference: float) -> None:
    if not difference <= TOLERANCE:
        raise UserError(
            f"encode=onnx: features differ from PyTorch's by {difference:.2g} of the largest, more "
            f"than {TOLERANCE:g}; choose encode=eager"
        )


@torch.no_grad()
def _difference(encode: Encode, encoder: Encoder, image: Tensor) -> float:
    with torch.autocast("cpu", enabled=False):
        expected: Any = encoder.features(image).float()
    largest = float(expected.abs().max()) or 1.0
    return float((encode(image) - expected).abs().max()) / largest

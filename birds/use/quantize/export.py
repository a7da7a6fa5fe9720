"""A trained classifier as one ONNX file that takes photos as they come out of a decoder.

The exported graph cuts the middle square out of each photo, resizes it as Pillow does (bicubic,
antialiased), scales it and classifies it; a square photo of the model's own size passes through
unchanged. It computes what the checkpoint computes in the way that runtimes are fast at: the stem,
which folds blocks of pixels into channels before a 3x3 convolution, becomes one strided convolution
with the same weights (no shuffling of memory), and the scaling of pixels goes into those weights.

Letters: B batch, C channels, H height, W width, S species.
"""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from birds.encoders.unet import PIXEL_MEAN, PIXEL_SPREAD, Encoder
from birds.methods.classify.standard import Classify
from birds.use.quantize.models import INPUT, OUTPUT, Classifier

TOLERANCE = 1e-3  # largest difference of a logit between checkpoint and export; rounding alone gives about 1e-5


class StridedUNet(nn.Module):
    """The U-Net's encoder on pixels of 0 to 255: the same function of a photo, without space to
    depth.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        first: Any = encoder.levels[0]
        stem, conv, rest = encoder.stem, first[0], list(first)[1:]
        strided = nn.Conv2d(3, conv.out_channels, 3 * stem, stride=stem, padding=stem, bias=False)
        scaled = F.pixel_shuffle(conv.weight.detach(), stem) / (255 * PIXEL_SPREAD)
        strided.weight = nn.Parameter(scaled, requires_grad=False)
        self.levels = nn.ModuleList([nn.Sequential(strided, *rest), *list(encoder.levels)[1:]])

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        x = pixels - 255 * PIXEL_MEAN
        pyramid: list[Tensor] = []
        for level in self.levels:
            x = level(F.max_pool2d(x, 2) if pyramid else x)
            pyramid.append(x)
        return pyramid


class PhotosToLogits(nn.Module):
    """A classifier with its preprocessing inside: uint8 (B, H, W, 3) to logits (B, S)."""

    def __init__(self, task: Classify) -> None:
        super().__init__()
        self.size, self.head = task.spec.data.size, task.head
        self.strided = StridedUNet(task.encoder)

    def forward(self, photo: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B S"]:
        logits: Tensor = self.head(pooled_whole(self.strided(resized(photo, self.size))))
        return logits


def resized(photo: UInt8[Tensor, "B H W 3"], size: int) -> Float[Tensor, "B 3 size size"]:
    """The middle square of each photo at `size`, pixels of 0 to 255; unchanged when it has that
    size.
    """
    height, width = photo.shape[1], photo.shape[2]
    side = torch.sym_min(height, width)  # type: ignore[no-untyped-call]
    top, left = (height - side) // 2, (width - side) // 2
    square = photo[:, top : top + side, left : left + side]
    for k in (1, 2):
        torch._check(square.shape[k] > 0)  # type: ignore[no-untyped-call]
    pixels = square.permute(0, 3, 1, 2).float()
    scaled = F.interpolate(
        pixels, (size, size), mode="bicubic", antialias=True, align_corners=False
    )
    return scaled.clamp(0, 255)


def pooled_whole(pyramid: Sequence[Tensor]) -> Float[Tensor, "B F"]:
    """What `pooled` returns, by pooling with windows as large as the map: unlike reductions, that
    exists in int8.
    """
    means = [F.avg_pool2d(level, level.shape[-2:]) for level in pyramid]
    return torch.cat(
        means + [F.max_pool2d(level, level.shape[-2:]) for level in pyramid], dim=1
    ).flatten(1)


def exported(task: Classify, about: Mapping[str, Any]) -> bytes:
    """The classifier as an ONNX file: input `photo` uint8 (B, H, W, 3), output `logits` float32 (B,
    S), any B, H, W.

    Args:
        task: a trained classifier in evaluation mode.
        about: what the file is to know of itself, such as species and size; JSON under `birds` in
            its metadata.

    onnx and onnxscript must be installed (`birds.use.quantize.make.check_all`).
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    size = task.spec.data.size
    photos = torch.zeros(2, size + 8, size + 16, 3, dtype=torch.uint8)
    axes = {number: torch.export.Dim(name) for number, name in enumerate("BHW")}
    names: Any = {
        "input_names": [INPUT],
        "output_names": [OUTPUT],
        "dynamic_shapes": {"photo": axes},
    }
    with quiet():  # it misses torchvision, which is not needed
        network = PhotosToLogits(task).eval()
        program = torch.onnx.export(
            network, (photos,), dynamo=True, external_data=False, verbose=False, **names
        )
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # the exporter's notes on its nodes
    program.model.metadata_props["birds"] = json.dumps(about)
    data: bytes = program.model_proto.SerializeToString()
    return data


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, keep off the terminal all warnings, and what is logged below an error."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(logging.NOTSET)


@torch.no_grad()
def checkpoint_logits(task: Classify, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the checkpoint itself says of photos, uint8 (N, size, size, 3), computed in fp32: logits
    (N, S).
    """
    logits: NDArray[np.float32] = task(
        torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255
    ).numpy()
    return logits


def compared_with_checkpoint(
    task: Classify, classify: Classifier, photos: NDArray[np.uint8]
) -> dict[str, Any]:
    """How far an exported model is from its checkpoint over photos, uint8 (N, size, size, 3).

    Photos go in one by one, then all at once, so a batch size that was frozen into the graph is
    noticed. Raises RuntimeError when a logit differs by more than TOLERANCE: such an export must
    not be used.
    """
    ones = np.concatenate([classify(photos[k : k + 1]) for k in range(min(4, len(photos)))])
    both = np.concatenate([ones, classify(photos)])
    apart = float(
        np.abs(both - checkpoint_logits(task, np.concatenate([photos[:4], photos]))).max()
    )
    if not apart <= TOLERANCE:
        raise RuntimeError(
            f"the exported model does not predict what the checkpoint of run {task.spec.key} predicts: "
            f"logits differ by {apart:.2g}, more than {TOLERANCE}"
        )
    return {"largest_logit_difference": apart, "tolerance": TOLERANCE, "photos": len(photos)}

"""Exports a trained classifier as one ONNX file that takes decoded images of any size.

The exported graph resizes each image like its run (the central square, its share crop_pct, or both
sides squashed; antialiased like Pillow), then scales and classifies it. An image in the model's own
size is not resized. The graph computes the same as the checkpoint. Only `for_export` and `pool` of
an encoder depend on how it is built.

Letters: B batch, C channels, H height, W width, S classes.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from birds.core.spec import ImageChoices
from birds.data.decode import kept_side
from birds.methods.classify.heads import LEAST
from birds.methods.onnx_graph import onnx_graph
from birds.use.calibration import softmax
from birds.use.quantize.models import INPUT, OUTPUT, Classifier

TOLERANCE = 1e-3  # largest allowed difference of log-probabilities; rounding gives about 1e-5


class ImagesToLogits(nn.Module):
    """A classifier with its preprocessing inside: uint8 (B, H, W, C) to logits (B, S).

    Args:
        network: an encoder and a head.
        choices: the preprocessing of the encoder's images.
    """

    def __init__(self, network: Any, choices: ImageChoices) -> None:
        super().__init__()
        self.choices = choices
        self.encoder = network.encoder
        self.on_pixels = network.encoder.for_export()
        self.head = network.head

    def forward(self, image: UInt8[Tensor, "B H W C"]) -> Float[Tensor, "B S"]:
        """The logits in float32."""
        outputs = self.on_pixels(resized(image, self.choices))
        logits: Tensor = self.head(self.encoder.pool(outputs))
        return logits.float()


def resized(
    image: UInt8[Tensor, "B H W C"], choices: ImageChoices
) -> Float[Tensor, "B C size size"]:
    """Each image in the size of a run, with pixels of 0 to 255; unchanged if it has that size."""
    pixels = image.permute(0, 3, 1, 2).float()
    shown = pixels
    if choices.resize == "crop":
        shown = _middle_square(pixels, choices)
    size = (choices.size, choices.size)
    scaled = F.interpolate(
        shown, size, mode=choices.interpolation, antialias=True, align_corners=False
    )
    return scaled.clamp(0, 255)


def _middle_square(
    pixels: Float[Tensor, "B C H W"], choices: ImageChoices
) -> Float[Tensor, "B C s s"]:
    """The square that is kept; the whole image if it has the model's own size."""
    height, width = pixels.shape[2], pixels.shape[3]
    side = torch.sym_min(height, width)  # type: ignore[no-untyped-call]
    if choices.crop_pct < 1:
        larger = torch.sym_max(height, width)  # type: ignore[no-untyped-call]
        side = _kept(side, larger, choices)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[:, :, top : top + side, left : left + side]
    for k in (2, 3):
        torch._check(square.shape[k] > 0)  # type: ignore[no-untyped-call]
    return square


def _kept(short: Any, long: Any, choices: ImageChoices) -> Any:
    """How many pixels of the short side are kept.

    It has no branch, because the sides of an image are symbols in an exported graph.
    """
    largest: Any = torch.sym_max  # this module has no types
    apart = largest(short - choices.size, choices.size - short) + long - short
    is_other = torch.sym_min(apart, 1)  # type: ignore[no-untyped-call]
    return short - is_other * (short - kept_side(short, choices.crop_pct))


def exported(network: Any, choices: ImageChoices, about: Mapping[str, Any]) -> bytes:
    """The classifier as an ONNX file, for any B, H and W.

    Its input is `image`, uint8 (B, H, W, C), and its output `logits`, float32 (B, S).

    Args:
        network: an encoder and a head in evaluation mode.
        choices: the preprocessing of the encoder's images.
        about: information for the file's metadata, such as classes and size; saved as JSON in the
            field `birds`.

    onnx and onnxscript must be installed (`birds.use.quantize.make.check_all`).
    """
    shape = (2, choices.size + 8, choices.size + 16, choices.channels)
    axes = {number: torch.export.Dim(name) for number, name in enumerate("BHW")}
    model = onnx_graph(
        ImagesToLogits(network, choices).eval(),
        torch.zeros(shape, dtype=torch.uint8),
        INPUT,
        OUTPUT,
        {"image": axes},
    )
    model.metadata_props.add(key="birds", value=json.dumps(about))
    data: bytes = model.SerializeToString()
    return data


@torch.no_grad()
def checkpoint_logits(classifier: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The checkpoint's logits (N, S) for images, uint8 (N, size, size, C), computed in fp32."""
    fractions = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    logits: NDArray[np.float32] = classifier(fractions).numpy()
    return logits


def compared_with_checkpoint(
    classifier: Any, classify: Classifier, images: NDArray[np.uint8]
) -> dict[str, Any]:
    """How far an exported model is from its checkpoint on images, uint8 (N, size, size, C).

    Images go in one by one and then all at once, to detect a batch size fixed in the graph. Logits
    are compared as log-probabilities, because a fitted head gives these, and they differ from
    logits only by a constant for each image. Raises RuntimeError when one differs by more than
    TOLERANCE: such an export must not be used.
    """
    ones = [classify(images[k : k + 1]) for k in range(min(4, len(images)))]
    both = np.concatenate([*ones, classify(images)])
    expected = checkpoint_logits(classifier, np.concatenate([images[:4], images]))
    apart = float(np.abs(_log_probabilities(both) - _log_probabilities(expected)).max())
    if not apart <= TOLERANCE:
        raise RuntimeError(
            f"the exported model does not predict what the checkpoint of run {classifier.spec.key} "
            f"predicts: log-probabilities differ by {apart:.2g}, more than {TOLERANCE}"
        )
    return {
        "largest_log_probability_difference": apart,
        "tolerance": TOLERANCE,
        "images": len(images),
    }


def _log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The log-probabilities of logits (N, S), at least log(LEAST), which is the limit in fitted
    heads.
    """
    floored: NDArray[np.float64] = np.log(np.maximum(softmax(logits), LEAST))
    return floored

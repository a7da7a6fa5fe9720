"""A frozen encoder in ONNX Runtime gives the features that PyTorch gives."""

from __future__ import annotations

import pytest
import torch
from made_parts import unet
from torch import Tensor

from birds.core.errors import UserError
from birds.methods.encoding import TOLERANCE, through_onnx

pytest.importorskip("onnxruntime")


@torch.no_grad()
def test_features_by_onnx_are_those_of_pytorch_for_any_number_of_images() -> None:
    encoder = unet(size=32).eval()
    for norm in (layer for layer in encoder.modules() if isinstance(layer, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    images = torch.rand(5, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):  # as in a run; ONNX Runtime computes in fp32
        found = through_onnx(encoder, images, threads=1)
    assert found.difference < 1e-5
    for count in (1, 5):
        expected = encoder.features(images[:count])
        difference = (found.encode(images[:count]) - expected).abs().max()
        assert difference <= TOLERANCE * expected.abs().max()


def test_features_that_differ_are_refused() -> None:
    encoder = unet(size=32).eval()
    doubling = torch.nn.Sequential(encoder.for_export(), _Odd(lambda maps: [2 * m for m in maps]))
    encoder.for_export = lambda: doubling
    with pytest.raises(UserError, match=r"encode=onnx: features differ .* choose encode=eager"):
        through_onnx(encoder, torch.rand(2, 3, 32, 32), threads=1)


def test_an_encoder_that_cannot_be_exported_is_refused_with_the_cure() -> None:
    encoder = unet(size=32).eval()

    def by_value(image: Tensor) -> list[Tensor]:
        return [image * image.sum().item()] if image.sum().item() > 3 else []

    encoder.for_export = lambda: _Odd(by_value)
    with pytest.raises(UserError, match=r"cannot be exported .* choose encode=eager"):
        through_onnx(encoder, torch.rand(2, 3, 32, 32), threads=1)


class _Odd(torch.nn.Module):
    def __init__(self, call: object) -> None:
        super().__init__()
        self.call = call

    def forward(self, image: Tensor) -> object:
        return self.call(image)  # type: ignore[operator]

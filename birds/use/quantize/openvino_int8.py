"""OpenVINO and NNCF: post-training quantization to int8, and bf16 if the CPU supports it.

OpenVINO silently computes an fp32 model in bf16 on CPUs that support it, so the precision is always
given (`birds.use.quantize.models.open_file`). The bf16 variant is the fp32 file run with that
setting; it needs no further disk space.
"""

import contextlib
import io
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset11

from birds.methods.onnx_graph import quiet
from birds.use.quantize.models import INPUT

PREFIX, SUFFIX = "openvino-", ".xml"
ABSENT = "OpenVINO's CPU plugin has no fp16 arithmetic on x86, so there is no such variant"
LAYERS = ("Convolution", "GroupConvolution", "MatMul")
MOVES = {
    "Convert",
    "Reorder",
    "Transpose",
    "Reshape",
    "StridedSlice",
    "Gather",
    "Input",
    "Output",
    "Const",
}


def half_precisions() -> list[str]:
    """As in `onnx_int8`."""
    return ["bf16"] * ("BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def prepared(exported: Path, folder: Path) -> Path:
    """As in `onnx_int8`. Images are resized as Pillow does it.

    OpenVINO ignores the antialiasing of ONNX's cubic Resize, so this node is replaced.
    """
    model = openvino.Core().read_model(exported)
    target = folder / "fp32.xml"
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Interpolate":
            node.output(0).replace(_like_pillow(node).output(0))
    openvino.save_model(model, target, compress_to_fp16=False)
    return target


def _like_pillow(node: Any) -> Any:
    """A node that resizes like Pillow, in place of ONNX's Resize."""
    side = node.output(0).partial_shape[-1].get_length()
    sizes = opset11.constant(np.array([side, side], dtype=np.int64))
    axes = opset11.constant(np.array([2, 3], dtype=np.int64))
    unpadded = [0] * 4
    cubic = "cubic" in node.get_attributes()["mode"]
    return opset11.interpolate(
        node.input_value(0),
        sizes,
        "bicubic_pillow" if cubic else "bilinear_pillow",
        "sizes",
        unpadded,
        unpadded,
        cube_coeff=-0.5,
        axes=axes,
    )


def layers(model: Path) -> list[str]:
    """As in `onnx_int8`."""
    nodes = openvino.Core().read_model(model).get_ordered_ops()
    return [node.get_friendly_name() for node in nodes if node.get_type_name() in LAYERS]


def quantize(
    model: Path, batches: Iterable[NDArray[np.uint8]], target: Path, in_float: Collection[str]
) -> None:
    """As in `onnx_int8`."""
    parts = list(batches)
    with quiet(), contextlib.redirect_stdout(io.StringIO()):  # hides NNCF's progress bars
        quantized = nncf.quantize(
            openvino.Core().read_model(model),
            nncf.Dataset(parts, lambda batch: {INPUT: batch}),
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(parts),
            ignored_scope=nncf.IgnoredScope(names=list(in_float)),
        )
    openvino.save_model(quantized, target, compress_to_fp16=False)


def float_operations(model: Path) -> list[str]:
    """As in `onnx_int8`, from OpenVINO's compiled graph."""
    compiled = openvino.Core().compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    ran = [node.rt_info for node in compiled.get_runtime_model().get_ordered_ops()]
    found = [
        _text(about["layerType"])
        for about in ran
        if _text(about["runtimePrecision"]) in ("f32", "FP32")
    ]
    return [name for name in found if name not in MOVES]


def _text(value: Any) -> str:
    return str(value.astype(str) if hasattr(value, "astype") else value)

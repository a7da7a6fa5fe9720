"""OpenVINO and NNCF: post-training quantization to int8, and bf16 where the CPU computes in it.

OpenVINO silently computes an fp32 model in bf16 on CPUs that can, so the precision is always said
(`birds.quantize.models.open_openvino`). The bf16 variant is the fp32 file run with that hint; it takes no room.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birds.quantize.models import INPUT, not_installed
from birds.spec import Refused

NAME, PREFIX, SUFFIX = "openvino", "openvino-", ".xml"
ABSENT = "OpenVINO's CPU plugin has no fp16 arithmetic on x86, so there is no such variant"
LAYERS = ("Convolution", "GroupConvolution", "MatMul")
MOVES = {"Convert", "Reorder", "Transpose", "Reshape", "StridedSlice", "Gather", "Input", "Output", "Const"}
BATCH = 32


def require() -> dict[str, str]:
    """The versions of what this backend needs. Raises Refused, with the extra to install, when it is missing."""
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise Refused(not_installed(error.name or NAME)) from None
    return {"openvino": openvino.__version__, "nncf": nncf.__version__}


def float_models(source: Path, folder: Path) -> dict[str, Path]:
    """The models in float by precision, written into `folder`: fp32, and bf16 where this CPU has it."""
    import openvino

    target = folder / "fp32.xml"
    openvino.save_model(_read(source), target, compress_to_fp16=False)
    has_bf16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {"fp32": target, **({"bf16": target} if has_bf16 else {})}


def layers(source: Path) -> list[str]:
    """The names of the layers with weights, which are what quantizing is about, in the graph's order."""
    return [node.get_friendly_name() for node in _read(source).get_ordered_ops() if node.get_type_name() in LAYERS]


def quantize(
    source: Path, photos: NDArray[np.uint8], target: Path, *, in_float: Collection[str] = (), reduce_range: bool = False
) -> None:
    """Write the int8 twin of an exported model: arguments as in `onnx_int8.quantize`.

    NNCF chooses ranges by the CPU that it is told, so `reduce_range` changes nothing here.
    """
    import nncf
    import openvino

    logging.getLogger("nncf").setLevel(logging.ERROR)
    batches = [photos[k : k + BATCH] for k in range(0, len(photos), BATCH)]
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        quantized = nncf.quantize(
            _read(source),
            nncf.Dataset(batches, lambda batch: {INPUT: batch}),
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(names=list(in_float)),
        )
    openvino.save_model(quantized, target, compress_to_fp16=False)


def float_operations(path: Path) -> list[str]:
    """The operations that OpenVINO really computes in float, by type with their number, as in `Concat x1`.

    Looked up in the compiled graph; conversions and mere moves of data are left out.
    """
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        about = {name: _text(node.rt_info[name]) for name in ("layerType", "runtimePrecision")}
        if about["runtimePrecision"] in ("f32", "FP32") and about["layerType"] not in MOVES:
            found.append(about["layerType"])
    return [f"{name} x{found.count(name)}" for name in dict.fromkeys(found)]


def _text(value: Any) -> str:
    return str(value.astype(str) if hasattr(value, "astype") else value)


def _read(source: Path) -> Any:
    """The exported model, its photos resized as Pillow does: OpenVINO drops the antialiasing of ONNX's cubic Resize."""
    import openvino
    from openvino import opset11

    model = openvino.Core().read_model(source)
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Interpolate":
            side = node.output(0).partial_shape[-1].get_length()
            sizes, axes = (opset11.constant(np.array(v, dtype=np.int64)) for v in ([side, side], [2, 3]))
            like_pillow = opset11.interpolate(
                node.input_value(0), sizes, "bicubic_pillow", "sizes", [0] * 4, [0] * 4, cube_coeff=-0.5, axes=axes
            )
            node.output(0).replace(like_pillow.output(0))
    return model

"""ONNX Runtime: static quantization to int8 (QDQ, one scale a channel of the weights).

Activations are uint8 and weights int8, which the dot-product instructions of x86 take. Without those instructions the
16-bit sums of older ones overflow, so weights then get 7 bits (`reduce_range`), as ONNX Runtime advises.
Vectors that join levels of different scale (Concat, BatchNorm of the head) stay in float: they cost nothing and one
scale for all would drown the small ones.

`openvino_int8` offers the same functions and constants.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from birds.quantize.export import quiet, with_metadata
from birds.quantize.models import INPUT, batches

PREFIX, SUFFIX = "", ".onnx"
ABSENT = "ONNX Runtime has neither bf16 nor fp16 convolutions on x86 CPUs, so there is no such variant"
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
QUANTIZED = (*LAYERS, "Relu", "Clip", "Add", "MaxPool", "AveragePool", "GlobalAveragePool")
MOVES = {"QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", "Reshape", "Slice", "Gather", "ReorderInput"}
BATCH = 32


def half_precisions() -> list[str]:
    """The precisions between fp32 and int8 that the runtime computes in on this CPU."""
    return []


def prepared(exported: Path, folder: Path) -> Path:
    """The exported model as this runtime's fp32 model, in `folder`: shapes inferred and BatchNorms folded."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    target = folder / "fp32.onnx"
    with quiet(logging.getLogger()):
        # ONNX's own shape inference does; the symbolic one cannot follow the cut of the middle square
        quant_pre_process(str(exported), str(target), skip_symbolic_shape=True)
    _describe(target, onnx.load(exported))
    return target


def layers(model: Path) -> list[str]:
    """The names of the layers with weights, which are what quantizing is about, in the graph's order."""
    import onnx

    return [node.name for node in onnx.load(model).graph.node if node.op_type in LAYERS]


def quantize(
    model: Path, photos: NDArray[np.uint8], target: Path, *, in_float: Collection[str] = (), reduce_range: bool = False
) -> None:
    """Write the int8 twin of an fp32 model.

    Args:
        model: what `prepared` returned.
        photos: what sets the ranges of the activations, uint8 (N, size, size, 3); no labels.
        target: where the twin goes.
        in_float: layers, as `layers` names them, that stay in float.
        reduce_range: weights of 7 bits, for CPUs without dot-product instructions.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    feeds = ({INPUT: batch} for batch in batches(photos, BATCH))
    with quiet(logging.getLogger()):
        quantize_static(
            model,
            target,
            SimpleNamespace(get_next=lambda: next(feeds, None)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(in_float),
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},  # logits keep all their bits
        )
    _describe(target, onnx.load(model))


def _describe(target: Path, source: object) -> None:
    """Give the model at `target` the metadata of `source`, which the quantizer may lose."""
    import onnx

    about = {entry.key: entry.value for entry in source.metadata_props}  # type: ignore[attr-defined]
    target.write_bytes(with_metadata(onnx.load(target), json.loads(about["birds"])))


def float_operations(model: Path) -> list[str]:
    """The operations that ONNX Runtime really computes in float, by type with their number, as in `Concat x1`.

    It is run once and says what it did; conversions and mere moves of data are left out.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, f"{folder}/run"
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        session.run(None, {INPUT: np.zeros((1, 64, 64, 3), np.uint8)})
        events = [event["args"] for event in json.loads(Path(session.end_profiling()).read_text())]
    ran = [(event["op_name"], event["input_type_shape"]) for event in events if event.get("input_type_shape")]
    found = [name for name, inputs in ran if "float" in inputs[0] and name not in MOVES]
    return [f"{name} x{found.count(name)}" for name in dict.fromkeys(found)]

"""ONNX Runtime: static quantization to int8 (QDQ, one scale for each channel of the weights).

Activations are uint8 and weights int8, as the dot-product instructions of x86 need them. On CPUs
without these instructions, the older ones have 16-bit sums, which overflow. Weights then get 7 bits
(`reduce_range`), as ONNX Runtime advises. Vectors that join levels of different scale (Concat,
BatchNorm of the head) stay in float: this costs nothing, and with one scale for all, small values
would be lost.

`openvino_int8` offers the same functions and constants.
"""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from birds.core.machine import int8_instructions
from birds.methods.onnx_graph import quiet
from birds.use.quantize.models import INPUT

PREFIX, SUFFIX = "", ".onnx"
ABSENT = (
    "ONNX Runtime has neither bf16 nor fp16 convolutions on x86 CPUs, so there is no such variant"
)
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
QUANTIZED = (*LAYERS, "Relu", "Clip", "Add", "MaxPool", "AveragePool", "GlobalAveragePool")
MOVES = {
    "QuantizeLinear",
    "DequantizeLinear",
    "Cast",
    "Transpose",
    "Reshape",
    "Slice",
    "Gather",
    "ReorderInput",
}


def half_precisions() -> list[str]:
    """The precisions between fp32 and int8 that the runtime supports on this CPU."""
    return []


def prepared(exported: Path, folder: Path) -> Path:
    """The exported model as this runtime's fp32 model, in `folder`.

    Shapes are inferred and BatchNorms are folded.
    """
    target = folder / "fp32.onnx"
    with quiet():
        # ONNX's own shape inference is enough; the symbolic one fails at the middle square's crop
        quant_pre_process(str(exported), str(target), skip_symbolic_shape=True)
    _keep_our_metadata(target)
    return target


def layers(model: Path) -> list[str]:
    """The names of the layers with weights, which are quantized, in the graph's order."""
    return [node.name for node in onnx.load(model).graph.node if node.op_type in LAYERS]


def quantize(
    model: Path, batches: Iterable[NDArray[np.uint8]], target: Path, in_float: Collection[str]
) -> None:
    """Write the int8 twin of an fp32 model.

    Args:
        model: the file that `prepared` returned.
        batches: images that set the ranges of the activations, uint8 (B, size, size, C); no labels.
        target: where the twin is written.
        in_float: layers, named as by `layers`, that stay in float.
    """
    feeds = ({INPUT: batch} for batch in batches)
    with quiet():
        quantize_static(
            model,
            target,
            SimpleNamespace(get_next=lambda: next(feeds, None)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            reduce_range=not int8_instructions(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(in_float),
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]
            },  # logits stay in float
        )
    _keep_our_metadata(target)


def _keep_our_metadata(target: Path) -> None:
    """Remove the quantizer's own notes from a model's file."""
    proto = onnx.load(target)
    ours = [entry for entry in proto.metadata_props if entry.key == "birds"]
    del proto.metadata_props[:]
    proto.metadata_props.extend(ours)
    onnx.save(proto, target)


def float_operations(model: Path) -> list[str]:
    """The type of each operation that ONNX Runtime really computes in float.

    The model is run once with ONNX Runtime's profile. Conversions and moves of data are left out.
    """
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(model.with_suffix(""))
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    channels = session.get_inputs()[0].shape[3]
    session.run(None, {INPUT: np.zeros((1, 64, 64, channels), np.uint8)})
    events = [event["args"] for event in json.loads(Path(session.end_profiling()).read_text())]
    ran = [
        (event["op_name"], event["input_type_shape"])
        for event in events
        if event.get("input_type_shape")
    ]
    return [name for name, inputs in ran if "float" in inputs[0] and name not in MOVES]

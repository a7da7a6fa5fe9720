"""ONNX Runtime: static quantization to int8 (QDQ, one scale a channel of the weights).

Activations are uint8 and weights int8, which the dot-product instructions of x86 take. Without those instructions the
16-bit sums of older ones overflow, so weights then get 7 bits (`reduce_range`), as ONNX Runtime advises.
Vectors that join levels of different scale (Concat, BatchNorm of the head) stay in float: they cost nothing and one
scale for all would drown the small ones.
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birds.quantize.export import with_metadata
from birds.quantize.models import INPUT, not_installed
from birds.spec import Refused

NAME, PREFIX, SUFFIX = "onnxruntime", "", ".onnx"
ABSENT = "ONNX Runtime has neither bf16 nor fp16 convolutions on x86 CPUs, so there is no such variant"
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
QUANTIZED = (*LAYERS, "Relu", "Clip", "Add", "MaxPool", "AveragePool", "GlobalAveragePool")
MOVES = {"QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", "Reshape", "Slice", "Gather"}
FLOAT, UINT8, INT64 = 1, 2, 7  # of onnx.TensorProto
BATCH = 32


def require() -> dict[str, str]:
    """The versions of what this backend needs. Raises Refused, with the extra to install, when it is missing."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (what torch exports with)
    except ImportError as error:
        raise Refused(not_installed(error.name or NAME)) from None
    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def float_models(source: Path, folder: Path) -> dict[str, Path]:
    """The models in float by precision, written into `folder`: the exported one is used as it is."""
    return {"fp32": source}


def layers(source: Path) -> list[str]:
    """The names of the layers with weights, which are what quantizing is about, in the graph's order."""
    import onnx

    with _prepared(source) as prepared:
        return [node.name for node in onnx.load(prepared).graph.node if node.op_type in LAYERS]


def quantize(
    source: Path, photos: NDArray[np.uint8], target: Path, *, in_float: Collection[str] = (), reduce_range: bool = False
) -> None:
    """Write the int8 twin of an exported model.

    Args:
        source: the exported model.
        photos: what sets the ranges of the activations, uint8 (N, size, size, 3); no labels.
        target: where the twin goes.
        in_float: layers, as `layers` names them, that stay in float.
        reduce_range: weights of 7 bits, for CPUs without dot-product instructions.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with _prepared(source) as prepared, _quiet():
        quantize_static(
            prepared,
            target,
            _reader(photos),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(in_float),
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},  # logits keep all their bits
        )
    _describe_like(source, target)


def float_operations(path: Path) -> list[str]:
    """The operations that ONNX Runtime really computes in float, by type with their number, as in `Concat x1`.

    Looked up in the graph after its optimizations, which is what runs; conversions and mere moves of data are left out.
    """
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = f"{folder}/optimized.onnx"
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    kind = _kinds(graph)
    found = [node.op_type for node in graph.node if kind[node.output[0]] == FLOAT and node.op_type not in MOVES]
    return [f"{name} x{found.count(name)}" for name in dict.fromkeys(found)]


def _kinds(graph: Any) -> dict[str, int]:
    """The element type of every tensor of an optimized graph, which says it of some; the rest have their input's."""
    kind = {entry.name: entry.data_type for entry in graph.initializer}
    kind |= {entry.name: entry.type.tensor_type.elem_type for entry in [*graph.input, *graph.value_info]}
    for node in graph.node:
        said = {"DequantizeLinear": FLOAT, "QuantizeLinear": UINT8, "Shape": INT64}.get(node.op_type)
        if node.op_type.startswith("QLinear"):
            said = UINT8
        elif node.op_type == "Cast":
            said = next(entry.i for entry in node.attribute if entry.name == "to")
        inherited = kind.get(node.input[0], 0) if node.input else 0
        for name in node.output:
            kind.setdefault(name, inherited if said is None else said)
    return kind


@contextlib.contextmanager
def _prepared(source: Path) -> Iterator[Path]:
    """The model with its shapes inferred and its BatchNorms folded, as quantizing wants it; gone afterwards."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        # ONNX's own shape inference does; the symbolic one cannot follow the cut of the middle square
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        yield prepared


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the quantizer says on the root logger off the terminal; errors come through."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(before)


def _reader(photos: NDArray[np.uint8]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = iter([photos[k : k + BATCH] for k in range(0, len(photos), BATCH)])

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch}

    return Reader()


def _describe_like(source: Path, target: Path) -> None:
    """Give `target` the metadata of `source`: the quantizer may lose it."""
    import onnx

    about = {entry.key: entry.value for entry in onnx.load(source).metadata_props}
    target.write_bytes(with_metadata(onnx.load(target), json.loads(about["birds"])))

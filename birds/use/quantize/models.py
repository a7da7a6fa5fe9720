"""The models that `birds quantize` writes to `runs/<key>/models/`, each with a JSON description.

Neither torch nor a runtime is imported here; `open_model` imports the one it needs. A model is
valid if its JSON is complete and its file has the size given there; incomplete files count as
missing.

Letters: B images, C channels, H height, W width, S classes.
"""

import importlib
import json
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from pydantic import BaseModel, Field

from birds.core.home import install
from birds.core.machine import INT8_INSTRUCTIONS, cpu_name, int8_instructions
from birds.core.spec import ImageChoices, UserError
from birds.core.store import RunFolder, write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INPUT, OUTPUT = "image", "logits"
NEEDS = {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino", "nncf")}
BACKENDS = tuple(NEEDS)
NOT_OURS = "is not a model of `birds quantize`, or it is incomplete; give one of runs/<key>/models/"

Classifier: TypeAlias = "Callable[[NDArray[np.uint8]], NDArray[np.float32]]"


class Model(BaseModel, frozen=True):
    """One exported model, from `image`, uint8 (B, H, W, C) of any B, to `logits`, float32 (B, S).

    precision: fp32, int8, bf16 or fp16. bytes: the size on disk, all files together. image: the
    preprocessing in training (images of other sizes are resized inside). test_accuracy,
    test_macro_f1: fractions, over the whole test part. calibration: which images set the ranges of
    the integers (empty for floats). made_from: all inputs, so that equal work is not done twice.
    measured: all the rest: every metric, the comparison with fp32, the layers left in float,
    seconds.
    """

    name: str
    key: str
    variant: str
    split: int
    seed: int
    backend: str
    precision: str
    file: str
    bytes: int
    image: ImageChoices
    classes: tuple[str, ...]
    test_accuracy: float
    test_macro_f1: float
    calibration: dict[str, Any]
    made_from: dict[str, Any]
    measured: dict[str, Any]
    folder: Path = Field(exclude=True)

    @property
    def path(self) -> Path:
        """The model's main file; OpenVINO has a second file for the weights."""
        return self.folder / self.file

    @property
    def title(self) -> str:
        """The run and the name, for people."""
        return f"{self.variant} split={self.split} seed={self.seed} {self.name}"

    def write(self) -> Self:
        """Write the JSON next to the model's file; returns the model."""
        write_text(self.folder / f"{self.name}.json", self.model_dump_json(indent=1))
        return self


def read_models(folder: RunFolder) -> list[Model]:
    """The complete models of a run, by name; empty before `birds quantize`."""
    return [
        model
        for file in sorted(folder.models.glob("*.json"))
        if (model := read_model(file)) is not None
    ]


def read_model(file: Path) -> Model | None:
    """The model that a JSON file describes; None if either file is missing, incomplete or not
    valid.
    """
    try:
        model = Model(**json.loads(file.read_text()), folder=file.parent)
        return model if model.bytes == size_on_disk(model.path) else None
    except (OSError, ValueError, TypeError):
        return None


def size_on_disk(path: Path) -> int:
    """The bytes of a model, including its weights file if it has one.

    Raises OSError when a file is missing.
    """
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return sum(file.stat().st_size for file in files)


def warn_without_int8() -> None:
    """Warn: a CPU without 8-bit instructions makes int8 models smaller, not faster."""
    if not int8_instructions():
        lacking = f"{cpu_name()} names no int8 instructions ({', '.join(INT8_INSTRUCTIONS)})"
        print(
            f"Note: {lacking}: int8 models are smaller here, but do not expect a speed-up.",
            file=sys.stderr,
        )


def installed(package: str) -> Any:
    """An imported package. If it is missing, raises UserError with the extra to install."""
    try:
        return importlib.import_module(package)
    except ImportError:
        extra = "openvino" if package in NEEDS["openvino"] else "quantize"
        raise UserError(f"{package} is not installed: {install(extra)}") from None


def open_model(model: Model, threads: int) -> Classifier:
    """The model, ready to use: images, uint8 (B, H, W, C), to logits, float32 (B, S).

    Raises UserError when its runtime is not installed or cannot read the file.
    """
    return open_file(model.path, threads, model.precision, model.image)


def open_file(path: Path, threads: int, precision: str, image: ImageChoices) -> Classifier:
    """Open a model's file on the CPU, as `open_model` does: .xml by OpenVINO, .onnx by ONNX
    Runtime.

    `precision` and `image` are only used for OpenVINO.
    """
    if path.suffix == ".xml":
        return _by_openvino(path, threads, precision, image)
    return by_onnxruntime(onnx_session(path, threads))


def by_onnxruntime(session: Any) -> Classifier:
    """A function from images to logits that runs an `InferenceSession`."""
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]


def onnx_session(path: Path, threads: int) -> Any:
    """An `InferenceSession` on the CPU with `threads` threads; 0 lets the runtime choose.

    Raises as `open_model` does.
    """
    onnxruntime = installed("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:  # its exceptions have no other common base class
        raise UserError(f"{path} {NOT_OURS}") from None


def _by_openvino(path: Path, threads: int, precision: str, image: ImageChoices) -> Classifier:
    """A model whose preprocessing in training was `image`.

    `precision` is passed to OpenVINO, because it otherwise computes an fp32 model in bf16 on CPUs
    that support it. For int8 it sets the precision of the parts left in float, which is fp32.
    OpenVINO also resizes images that already have the right size, which takes longer than a whole
    int8 network. So images of the model's own size use a second compiled model without resizing.
    """
    core = installed("openvino").Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_PRECISION_HINT"] = {"bf16": "bf16", "fp16": "f16"}.get(precision, "f32")
    try:
        model = core.read_model(path)
    except RuntimeError:
        raise UserError(f"{path} {NOT_OURS}") from None

    @lru_cache
    def request(own_size: bool) -> Any:
        chosen = _without_resizing(model.clone(), image) if own_size else model
        return core.compile_model(chosen, "CPU", settings).create_infer_request()

    request(True)  # compile for the model's own size now, not at the first image

    def classify(images: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        own_size = images.shape[1:3] == (image.size, image.size)
        logits: NDArray[np.float32] = request(own_size).infer({INPUT: images})[OUTPUT]
        return logits

    return classify


def _without_resizing(model: Any, image: ImageChoices) -> Any:
    """An OpenVINO model for images of its own size only, without the resizing."""
    model.reshape({INPUT: [-1, image.size, image.size, image.channels]})
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Interpolate":
            node.output(0).replace(node.input_value(0))
    return model

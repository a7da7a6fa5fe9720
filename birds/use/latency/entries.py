"""The models that are timed for each run: PyTorch eager, torch.compile, and all models of `birds
quantize`.

On a GPU these are PyTorch in fp32, in bf16 and in fp32 as a CUDA graph, and ONNX Runtime if it has
its CUDA provider.

All get the same uint8 images in host memory and return float32 logits in host memory, so scaling,
copying and layout are part of every measured time. The baselines are made as fast as a few lines
allow: inference mode, channels_last, and a graph compiled for the exact shape with the weights as
constants. A baseline whose logits differ from eager fp32 (for example because a runtime uses bf16
by itself) is left out, and the reason is reported.

Letters: B images, C channels, H height, W width, S classes.
"""

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from birds.core.record import Record
from birds.core.spec import ImageChoices
from birds.core.store import RunFolder
from birds.use import networks
from birds.use.latency.race import Classifier, Contestant, Images
from birds.use.quantize.models import Model, by_onnxruntime, installed, open_model, read_models

EAGER, COMPILED, CUDA = "eager", "compiled", "cuda"
ON_CUDA = "CUDAExecutionProvider"
TOLERANCE = 1e-3  # share of the largest logit: float32 differs 100 times less, bf16 more

Start = Callable[[int, Images], Classifier]


class OnPixels(nn.Module):
    """A run's network for decoded images, uint8 (B, H, W, C), to logits, float32 (B, S)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.network(images.permute(0, 3, 1, 2).float() / 255)
        return logits


def load_network(folder: RunFolder) -> tuple[OnPixels, ImageChoices]:
    """The trained network of a run, and the preprocessing of its images.

    It is loaded without Lightning, whose import would count as memory that PyTorch needs. Raises
    UserError when the run is no finished classifier, or has no network.
    """
    network, spec, _ = networks.load_network(folder)
    network.to(memory_format=torch.channels_last)
    return OnPixels(network).eval(), spec.image


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model that can be timed: `name` of the run `key`.

    about: the columns of its row, such as precision, size and accuracy; unknown values are None.
        `baseline` in it marks the fp32 models; others are compared with the fastest of these.
    shape: of an image, (H, W, C).
    start: `start(threads, images)` loads the model and, if needed, compiles it for that shape.
    """

    key: str
    name: str
    about: dict[str, Any]
    shape: tuple[int, int, int]
    start: Start


def entries(folder: RunFolder, device: str = "cpu") -> list[Entry]:
    """The models of a run that can be timed, eager first; empty without a quantized model.

    Raises UserError when the checkpoint is missing.
    """
    models, record = read_models(folder), folder.record()
    if not models or record is None:
        return []
    return _Entries(folder, record).on(device, models)


class _Entries:
    """Makes the entries of one run."""

    def __init__(self, folder: RunFolder, record: Record) -> None:
        self.network, self.image = load_network(folder)
        self.run = {
            name: record.value(name) for name in ("key", "variant", "split", "seed", "images_test")
        }
        self.run["size"] = self.image.size
        self.of_torch: dict[str, Any] = {
            "backend": "torch",
            "bytes": folder.checkpoint("best").stat().st_size,
            "test_accuracy": record.value("test_accuracy"),
            "test_macro_f1": record.value("test_macro_f1"),
        }

    def on(self, device: str, models: Sequence[Model]) -> list[Entry]:
        """The entries for this device, `cpu` or a GPU."""
        return self._on_cpu(models) if device == "cpu" else self._on_gpu(device, models)

    def _on_cpu(self, models: Sequence[Model]) -> list[Entry]:
        found = [
            self._of_torch(EAGER, partial(eager, self.network)),
            self._of_torch(COMPILED, partial(eager, self.network, compiled=True)),
        ]
        for model in models:
            found.append(self._exported(model, model.name, partial(_opened, model)))
        return found

    def _on_gpu(self, device: str, models: Sequence[Model]) -> list[Entry]:
        on_gpu = partial(eager, self.network, device=device)
        unknown = {"test_accuracy": None, "test_macro_f1": None}  # bf16 was never tested
        found = [
            self._of_torch(EAGER, on_gpu),
            self._of_torch("bf16", partial(on_gpu, bf16=True), "bf16", **unknown),
            self._of_torch("graph", partial(cuda_graph, self.network)),
        ]
        for model in models:
            is_plain = (model.backend, model.precision) == ("onnxruntime", "fp32")
            if is_plain and ON_CUDA in installed("onnxruntime").get_available_providers():
                found.append(self._exported(model, f"{model.name} cuda", partial(_on_cuda, model)))
        return found

    def _of_torch(self, name: str, start: Start, precision: str = "fp32", **other: Any) -> Entry:
        about = {"model": name, "precision": precision, "baseline": precision == "fp32"}
        about = self.run | about | self.of_torch | other
        shape = (self.image.size, self.image.size, self.image.channels)
        return Entry(self.run["key"], name, about, shape, start)

    def _exported(self, model: Model, name: str, start: Start) -> Entry:
        own = {column: getattr(model, column) for column in self.of_torch}
        return self._of_torch(name, start, model.precision, **own)


def eager(
    network: nn.Module,
    threads: int,
    images: Images,
    *,
    device: str = "cpu",
    bf16: bool = False,
    compiled: bool = False,
) -> Classifier:
    """PyTorch eager, or compiled for one shape. Copying logits to host memory waits for a GPU.

    If torch.compile would silently fall back to eager, it raises an error instead.
    """
    torch.set_num_threads(threads)
    own: Callable[[Tensor], Tensor] = copy.deepcopy(network).to(device)
    if compiled:
        own = torch.compile(own, fullgraph=True, dynamic=False, options={"freezing": True})
    precision = torch.autocast(device, torch.bfloat16) if bf16 else contextlib.nullcontext()

    def classify(images: Images) -> np.ndarray:
        with torch.inference_mode(), precision:
            return own(torch.from_numpy(images).to(device)).cpu().numpy()

    return classify


def cuda_graph(network: nn.Module, threads: int, images: Images) -> Classifier:
    """The GPU kernels of one forward pass, recorded once and replayed.

    The measured time is then only that of the GPU and of the copies.
    """
    moved = copy.deepcopy(network).to(CUDA)
    shown = torch.from_numpy(images).to(CUDA)
    with torch.no_grad():
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
            for _ in range(3):  # PyTorch requires a warm-up on another stream before recording
                moved(shown)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            recorded = moved(shown)

    def classify(images: Images) -> np.ndarray:
        shown.copy_(torch.from_numpy(images))
        graph.replay()
        logits: np.ndarray = recorded.cpu().numpy()
        return logits

    return classify


def _opened(model: Model, threads: int, images: Images) -> Classifier:
    return open_model(model, threads)


def _on_cuda(model: Model, threads: int, images: Images) -> Classifier:
    providers = [(ON_CUDA, {"use_tf32": 0}), "CPUExecutionProvider"]
    session = installed("onnxruntime").InferenceSession(str(model.path), providers=providers)
    if session.get_providers()[0] != ON_CUDA:
        raise RuntimeError("ONNX Runtime could not start its CUDA provider")
    return by_onnxruntime(session)  # it waits, because it copies the result back


def plain_fp32() -> contextlib.AbstractContextManager[None]:
    """Inside, a GPU computes convolutions in fp32 instead of TF32, as it does multiplications.

    cuDNN may search for its fastest kernel.
    """
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=True, deterministic=False, allow_tf32=False
    )


def started(
    chosen: Sequence[Entry], threads: int, batch: int, give_up: Callable[[Entry, str], object]
) -> list[Contestant]:
    """The entries of a run that work on this machine.

    Calls `give_up(entry, reason)` for each of the others.
    """
    shape = (batch, *chosen[0].shape)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    working: list[Contestant] = []
    expected: np.ndarray | None = None
    for entry in chosen:
        try:
            classify = entry.start(threads, images)
            logits = classify(images)
            if entry.about["baseline"]:
                expected = logits if expected is None else expected
                refuse_other_logits(logits, expected)
        except Exception as error:  # the report names compilers and runtimes that fail
            give_up(entry, next(iter(str(error).strip().splitlines()), type(error).__name__))
        else:
            working.append(Contestant(entry.key, entry.name, classify, images, entry.about))
    return working


def refuse_other_logits(logits: np.ndarray, expected: np.ndarray) -> None:
    """Raise RuntimeError when a baseline's logits differ from those of eager fp32."""
    away = float(np.abs(logits - expected).max() / max(1.0, np.abs(expected).max()))
    if away > TOLERANCE:
        raise RuntimeError(
            f"it does not compute what eager fp32 computes: off by {away:.1%} of the largest logit"
        )

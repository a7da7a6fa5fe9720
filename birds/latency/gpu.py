"""The same race on a GPU: PyTorch fp32, bf16 and fp32 as a CUDA graph, and ONNX Runtime's CUDA provider if present.

Photos come from host memory and logits go back to it, as on the CPU, so copies count. Every call ends with a
synchronisation: a kernel that was only launched has not answered yet. fp32 is fp32: TF32 is switched off for all.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch

from birds.latency.entries import EAGER, Network, Runner, load_network
from birds.latency.race import Classifier, Photos
from birds.quantize.models import INPUT, OUTPUT, Model, read_models

CUDA = "cuda"


def on_gpu(one: Runner) -> Runner:
    """The run with its entries on the GPU in place of those on the CPU; eager fp32 comes first, as there."""
    network = load_network(one.folder)
    eager = one.entries[0]
    ways: dict[str, tuple[str, Callable[[int, Photos], Classifier]]] = {
        EAGER: ("fp32", _eager(network, bf16=False)),
        "bf16": ("bf16", _eager(network, bf16=True)),
        "graph": ("fp32", _graph(network)),
    }
    entries = [
        dataclasses.replace(eager, name=name, precision=precision, start=start)
        if precision == "fp32"
        else dataclasses.replace(
            eager, name=name, precision=precision, start=start, test_accuracy=None, test_macro_f1=None
        )
        for name, (precision, start) in ways.items()
    ]
    exported = [m for m in read_models(one.folder) if (m.backend, m.precision) == ("onnxruntime", "fp32")]
    for model in exported if _onnxruntime_has_cuda() else []:
        entries.append(
            dataclasses.replace(
                eager, name=f"{model.name} cuda", backend="onnxruntime", bytes=model.bytes, start=_onnxruntime(model)
            )
        )
    return dataclasses.replace(one, entries=tuple(entries))


@contextlib.contextmanager
def plain_fp32() -> Iterator[None]:
    """Inside, fp32 is computed in fp32, and cuDNN may look for its fastest kernel."""
    flags = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = flags


def _moved(network: Network) -> Network:
    return copy.deepcopy(network).to(CUDA)


def _eager(network: Network, *, bf16: bool) -> Callable[[int, Photos], Classifier]:
    def start(threads: int, photos: Photos) -> Classifier:
        moved = _moved(network)

        def classify(photos: Photos) -> np.ndarray:
            with torch.inference_mode(), torch.autocast(CUDA, torch.bfloat16, enabled=bf16):
                logits = moved(torch.from_numpy(photos).to(CUDA)).cpu()
            torch.cuda.synchronize()
            answer: np.ndarray = logits.numpy()
            return answer

        return classify

    return start


def _graph(network: Network) -> Callable[[int, Photos], Classifier]:
    """The kernels of one forward pass, recorded once and replayed: the GPU's own time and the copies are left."""

    def start(threads: int, photos: Photos) -> Classifier:
        moved, shown = _moved(network), torch.from_numpy(photos).to(CUDA)
        with torch.no_grad():
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):  # PyTorch asks for a warm-up on another stream before recording
                for _ in range(3):
                    moved(shown)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                recorded = moved(shown)

        def classify(photos: Photos) -> np.ndarray:
            shown.copy_(torch.from_numpy(photos))
            graph.replay()
            logits: np.ndarray = recorded.cpu().numpy()
            torch.cuda.synchronize()
            return logits

        return classify

    return start


def _onnxruntime_has_cuda() -> bool:
    try:
        import onnxruntime
    except ImportError:
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _onnxruntime(model: Model) -> Callable[[int, Photos], Classifier]:
    def start(threads: int, photos: Photos) -> Classifier:
        import onnxruntime

        cuda = ("CUDAExecutionProvider", {"use_tf32": 0})
        session = onnxruntime.InferenceSession(str(model.path), providers=[cuda, "CPUExecutionProvider"])
        if session.get_providers()[0] != "CUDAExecutionProvider":
            raise RuntimeError("ONNX Runtime could not start its CUDA provider")

        def classify(photos: Photos) -> np.ndarray:
            logits: np.ndarray = session.run([OUTPUT], {INPUT: photos})[0]  # copies back, and so waits
            return logits

        return classify

    return start

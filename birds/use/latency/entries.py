"""What takes part: of each run PyTorch eager, torch.compile and each model that `birds quantize`
left, alike to call.

On a GPU it is PyTorch in fp32, in bf16 and in fp32 as a CUDA graph, and ONNX Runtime where it has
its CUDA provider.

All get the same uint8 photos in host memory and answer with float32 logits in host memory, so
scaling, copying and layout are part of the time of each. The baselines are as strong as a few lines
make them: inference mode, channels_last, a graph compiled for its very shape with the weights as
constants. One that computes something else than eager fp32 (a runtime that goes to bf16 by itself)
is left out, with the reason.

Letters: B photos, H height, W width, S species.
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

from birds.core.checkpoint import finished_classifier
from birds.core.store import RunFolder
from birds.encoders import build_encoder
from birds.methods.classify.head import Head, pooled
from birds.use.latency.race import Classifier, Contestant, Photos
from birds.use.quantize.models import Model, by_onnxruntime, installed, open_model, read_models

EAGER, COMPILED, CUDA = "eager", "compiled", "cuda"
ON_CUDA = "CUDAExecutionProvider"
TOLERANCE = (
    1e-3  # of the largest logit: float32 in another order stays 100 times below, bf16 does not
)

Start = Callable[[int, Photos], Classifier]


class Network(nn.Module):
    """A run's classifier without its training: photos, uint8 (B, H, W, 3), to logits, float32 (B,
    S).
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, photos: Tensor) -> Tensor:
        fractions = photos.permute(0, 3, 1, 2).float() / 255
        logits: Tensor = self.head(pooled(self.encoder(fractions)))
        return logits.float()


def load_network(folder: RunFolder) -> tuple[Network, int]:
    """The trained network of a run and the side of its photos. Raises UserError when the run is no
    finished classifier.

    It is read without Lightning, whose import would count as memory that PyTorch needs.
    """
    spec, species, weights = finished_classifier(folder)
    network = Network(
        build_encoder(spec.encoder), Head(2 * sum(spec.encoder.widths), len(species), spec.dropout)
    )
    network.load_state_dict(weights)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval(), spec.data.size


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model that can take part: `name` in the run `key`.

    `about` holds the columns of its row that say which model it is, of what precision, size and
    accuracy; what is not known of it is None; `baseline` marks the fp32 models, the fastest of
    which is to be beaten. `start(threads, photos)` loads it, and compiles it for photos of that
    shape where it is one that is compiled.
    """

    key: str
    name: str
    about: dict[str, Any]
    start: Start


def entries(folder: RunFolder, device: str = "cpu") -> list[Entry]:
    """What can be raced of a run, eager first; nothing without a quantized model.

    Raises UserError without a checkpoint.
    """
    models, record = read_models(folder), folder.record()
    if not models or record is None:
        return []
    network, size = load_network(folder)
    run = {
        name: record.value(name) for name in ("key", "variant", "split", "seed", "photos_test")
    } | {"size": size}
    score = {name: record.value(name) for name in ("test_accuracy", "test_macro_f1")}
    of_torch = {"backend": "torch", "bytes": folder.checkpoint("best").stat().st_size} | score

    def entry(name: str, start: Start, precision: str = "fp32", **other: Any) -> Entry:
        about = (
            run
            | {"model": name, "precision": precision, "baseline": precision == "fp32"}
            | of_torch
            | other
        )
        return Entry(folder.key, name, about, start)

    def exported(model: Model, name: str, start: Start) -> Entry:
        return entry(
            name, start, model.precision, **{column: getattr(model, column) for column in of_torch}
        )

    if device == "cpu":
        found = [
            entry(EAGER, partial(eager, network)),
            entry(COMPILED, partial(eager, network, compiled=True)),
        ]
        return found + [exported(model, model.name, partial(_opened, model)) for model in models]
    on_gpu = partial(eager, network, device=device)
    half = entry(
        "bf16", partial(on_gpu, bf16=True), "bf16", **dict.fromkeys(score)
    )  # nobody measured its accuracy
    found = [entry(EAGER, on_gpu), half, entry("graph", partial(cuda_graph, network))]
    plain = [
        model for model in models if (model.backend, model.precision) == ("onnxruntime", "fp32")
    ]
    served = plain and ON_CUDA in installed("onnxruntime").get_available_providers()
    return found + [
        exported(model, f"{model.name} cuda", partial(_on_cuda, model)) for model in plain if served
    ]


def eager(
    network: Network,
    threads: int,
    photos: Photos,
    *,
    device: str = "cpu",
    bf16: bool = False,
    compiled: bool = False,
) -> Classifier:
    """PyTorch as it is, or compiled for one shape. Logits come back to host memory, which waits for
    a GPU to be done.

    Where torch.compile would quietly go back to eager it fails, which is told.
    """
    torch.set_num_threads(threads)
    own: Callable[[Tensor], Tensor] = copy.deepcopy(network).to(device)
    if compiled:
        own = torch.compile(own, fullgraph=True, dynamic=False, options={"freezing": True})
    precision = torch.autocast(device, torch.bfloat16) if bf16 else contextlib.nullcontext()

    def classify(photos: Photos) -> np.ndarray:
        with torch.inference_mode(), precision:
            return own(torch.from_numpy(photos).to(device)).cpu().numpy()

    return classify


def cuda_graph(network: Network, threads: int, photos: Photos) -> Classifier:
    """The kernels of one forward pass, recorded once and replayed: the GPU's own time and the
    copies are left.
    """
    moved, shown = copy.deepcopy(network).to(CUDA), torch.from_numpy(photos).to(CUDA)
    with torch.no_grad():
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
            for _ in range(3):  # PyTorch asks for a warm-up on another stream before recording
                moved(shown)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            recorded = moved(shown)

    def classify(photos: Photos) -> np.ndarray:
        shown.copy_(torch.from_numpy(photos))
        graph.replay()
        logits: np.ndarray = recorded.cpu().numpy()
        return logits

    return classify


def _opened(model: Model, threads: int, photos: Photos) -> Classifier:
    return open_model(model, threads)


def _on_cuda(model: Model, threads: int, photos: Photos) -> Classifier:
    providers = [(ON_CUDA, {"use_tf32": 0}), "CPUExecutionProvider"]
    session = installed("onnxruntime").InferenceSession(str(model.path), providers=providers)
    if session.get_providers()[0] != ON_CUDA:
        raise RuntimeError("ONNX Runtime could not start its CUDA provider")
    return by_onnxruntime(session)  # it copies back, and so waits


def plain_fp32() -> contextlib.AbstractContextManager[None]:
    """Inside, a GPU convolves in fp32 (as it multiplies), not in TF32, and cuDNN may look for its
    fastest kernel.
    """
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=True, deterministic=False, allow_tf32=False
    )


def started(
    chosen: Sequence[Entry], threads: int, batch: int, give_up: Callable[[Entry, str], object]
) -> list[Contestant]:
    """The entries of a run that work here; calls `give_up(entry, reason)` for the others."""
    size = chosen[0].about["size"]
    photos = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    working: list[Contestant] = []
    expected: np.ndarray | None = None
    for entry in chosen:
        try:
            classify = entry.start(threads, photos)
            logits = classify(photos)
            if entry.about["baseline"]:
                expected = logits if expected is None else expected
                away = float(np.abs(logits - expected).max() / max(1.0, np.abs(expected).max()))
                if away > TOLERANCE:
                    why = f"off by {away:.1%} of the largest logit"
                    raise RuntimeError(f"it does not compute what eager fp32 computes: {why}")
            working.append(Contestant(entry.key, entry.name, classify, photos, entry.about))
        except (
            Exception
        ) as error:  # a compiler or runtime that fails here is a line in the report, not the end
            give_up(entry, next(iter(str(error).strip().splitlines()), type(error).__name__))
    return working

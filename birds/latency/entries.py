"""What takes part: of each run PyTorch eager, torch.compile and each model that `birds quantize` left, alike to call.

All get the same uint8 photos in host memory and answer with float32 logits in host memory, so scaling, copying and
layout are part of the time of each. The baselines are as strong as a few lines make them: inference mode,
channels_last, a graph compiled for its very shape with the weights as constants. One that computes something else
than eager fp32 (a runtime that goes to bf16 by itself) is left out, with the reason.

Letters: B photos, H height, W width, S species.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from birds.latency.race import Classifier, Contestant, Photos
from birds.models import build_encoder
from birds.models.checkpoint import read_checkpoint
from birds.models.head import Head, pooled
from birds.quantize.models import Model, open_model, read_models
from birds.spec import ClassifySpec, Refused, read_spec
from birds.store import RunFolder

EAGER, COMPILED = "eager", "compiled"
TOLERANCE = 1e-3  # of the largest logit: float32 in another order stays 100 times below, bf16 does not


class Network(nn.Module):
    """A run's classifier without its training: photos, uint8 (B, H, W, 3), to logits, float32 (B, S)."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, photos: Tensor) -> Tensor:
        fractions = photos.permute(0, 3, 1, 2).float() / 255
        logits: Tensor = self.head(pooled(self.encoder(fractions)))
        return logits.float()


def load_network(folder: RunFolder) -> Network:
    """The trained network of a run, ready to predict. Raises Refused when its checkpoint is missing or cut short.

    It is read without Lightning, whose import would count as memory that PyTorch needs.
    """
    spec, record = read_spec(folder.spec_file.read_text()), folder.record()
    if not isinstance(spec, ClassifySpec) or record is None:
        raise Refused(f"run {folder.key} is no finished classifier; ask for it again with train.py")
    species: list[str] = record.value("species")
    network = Network(build_encoder(spec.encoder), Head(2 * sum(spec.encoder.widths), len(species), spec.dropout))
    checkpoint = read_checkpoint(folder.checkpoint("best"))
    if checkpoint is None:
        where = folder.checkpoint("best")
        raise Refused(f"run {folder.key} has no whole checkpoint at {where}; delete its record and train it again")
    network.load_state_dict(checkpoint["state_dict"])
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval()


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model that can take part.

    `start(threads, photos)` loads it, and compiles it for photos of that shape where it is one that is compiled.
    bytes is its size on disk; what is not known of it is None.
    """

    key: str
    name: str
    backend: str
    precision: str
    bytes: int | None
    test_accuracy: float | None
    test_macro_f1: float | None
    start: Callable[[int, Photos], Classifier]

    @property
    def baseline(self) -> bool:
        """Whether it is one of the fp32 models, the fastest of which is to be beaten."""
        return self.precision == "fp32"


@dataclasses.dataclass(frozen=True)
class Runner:
    """A finished run with quantized models, and what is raced of it."""

    folder: RunFolder
    variant: str
    split: int
    seed: int
    size: int
    photos_test: int
    entries: tuple[Entry, ...]

    def row(self) -> dict[str, Any]:
        """The columns that say which run this is."""
        named = {name: getattr(self, name) for name in ("variant", "split", "seed", "size", "photos_test")}
        return {"key": self.folder.key} | named


def runner(folder: RunFolder) -> Runner | None:
    """The run of a folder and its entries; None without a quantized model. Raises Refused without a checkpoint."""
    models, record = read_models(folder), folder.record()
    if not models or record is None:
        return None
    accuracy, macro_f1 = record.value("test_accuracy"), record.value("test_macro_f1")
    network, size = load_network(folder), folder.checkpoint("best").stat().st_size
    torch_entries = [
        Entry(folder.key, name, "torch", "fp32", size, accuracy, macro_f1, start)
        for name, start in ((EAGER, _eager(network)), (COMPILED, _compiled(network)))
    ]
    return Runner(
        folder,
        record.variant,
        record.split,
        record.seed,
        models[0].size,
        record.value("photos_test"),
        (*torch_entries, *(_of_model(model) for model in models)),
    )


def _of_model(model: Model) -> Entry:
    return Entry(
        model.key,
        model.name,
        model.backend,
        model.precision,
        model.bytes,
        model.test_accuracy,
        model.test_macro_f1,
        lambda threads, photos: open_model(model, threads),
    )


def called(network: Callable[[Tensor], Tensor]) -> Classifier:
    """A network as something that maps photos in memory to logits in memory."""

    def classify(photos: Photos) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(photos)).numpy()

    return classify


def _eager(network: Network) -> Callable[[int, Photos], Classifier]:
    def start(threads: int, photos: Photos) -> Classifier:
        torch.set_num_threads(threads)
        return called(network)

    return start


def _compiled(network: Network) -> Callable[[int, Photos], Classifier]:
    def start(threads: int, photos: Photos) -> Classifier:
        torch.set_num_threads(threads)
        # fullgraph: where torch.compile would quietly go back to eager, it fails, and is left out with the reason
        compiled = torch.compile(copy.deepcopy(network), fullgraph=True, dynamic=False, options={"freezing": True})
        classify = called(compiled)
        classify(photos)
        return classify

    return start


def forget_compiled() -> None:
    """Drop what torch.compile keeps: it allows only a few graphs of one function."""
    torch.compiler.reset()


def started(
    one: Runner, threads: int, batch: int, give_up: Callable[[Entry, str], object]
) -> list[tuple[Entry, Contestant]]:
    """The entries of a run that work here, each as a contestant; calls `give_up(entry, reason)` for the others."""
    photos = np.random.default_rng(0).integers(0, 256, (batch, one.size, one.size, 3), dtype=np.uint8)
    working: list[tuple[Entry, Contestant]] = []
    expected: np.ndarray | None = None
    for entry in one.entries:
        try:
            classify = entry.start(threads, photos)
            logits = classify(photos)
        except Exception as error:  # a compiler or runtime that fails here is a line in the report, not the end
            give_up(entry, _first_line(error))
            continue
        if entry.baseline:
            expected = logits if expected is None else expected
            if (away := _distance(logits, expected)) > TOLERANCE:
                give_up(entry, f"it does not compute what eager fp32 computes: off by {away:.1%} of the largest logit")
                continue
        working.append((entry, Contestant(entry.key, entry.name, classify, photos)))
    return working


def _distance(logits: np.ndarray, expected: np.ndarray) -> float:
    if logits.shape != expected.shape:
        return float("inf")
    return float(np.abs(logits - expected).max() / max(1.0, np.abs(expected).max()))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0] or type(error).__name__

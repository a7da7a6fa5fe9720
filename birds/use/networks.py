"""Loads a finished classifier, either by its method or as one network."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birds.core.checkpoint import finished_classifier
from birds.core.machine import resolve
from birds.core.parts import part_class
from birds.core.spec import Part, RunSpec, Runtime, UserError
from birds.core.store import RunFolder
from birds.data.decode import Look, look_of
from birds.encoders import reads_own_size
from birds.methods import load_method


def load_classifier(folder: RunFolder) -> tuple[Any, RunSpec, list[str]]:
    """The classifier of a run, callable on images with pixels as fractions; its spec; its classes.

    Raises UserError when the run is no finished classifier.
    """
    spec, classes = finished_classifier(folder)
    return load_method(spec, folder, classes), spec, classes


def opened_classifier(
    folder: RunFolder,
) -> tuple[Callable[[NDArray[np.uint8]], NDArray[np.float32]], Look, list[str]]:
    """The classifier of a run as a function, the preprocessing of its images, and its classes.

    The function maps uint8 (N, H, W, C) to logits (N, S). It uses this machine's best device and
    precision, but never a lower precision than the run was tested with. Raises UserError when the
    run is no finished classifier.
    """
    import torch

    classifier, spec, classes = load_classifier(folder)
    record = folder.record()
    machine = resolve(_runtime(folder, record.model_dump() if record else {}))
    classifier.to(machine.device)

    @torch.no_grad()
    def classify(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(images).to(machine.device).permute(0, 3, 1, 2)
        with machine.autocast():
            logits: NDArray[np.float32] = classifier(pixels.float() / 255).float().cpu().numpy()
        return logits

    return classify, look_of(spec.image, own_size=reads_own_size(spec)), classes


def _runtime(folder: RunFolder, recorded: Mapping[str, Any]) -> Runtime:
    """How a finished run is used here: on a GPU if there is one, with all of PyTorch's threads."""
    import torch

    return Runtime(
        runs_dir=folder.path.parent,
        cache_dir=folder.path.parent / "cache",
        source=Part(name="folder"),
        precision="32" if recorded.get("precision") == "32" else "auto",
        threads=torch.get_num_threads(),
    )


def has_network(folder: RunFolder) -> bool:
    """Whether a finished classifier's method is a network, which can be exported and timed."""
    spec, classes = finished_classifier(folder)
    return _network(spec, folder, classes) is not None


def load_network(folder: RunFolder) -> tuple[Any, RunSpec, list[str]]:
    """The encoder and the head of a run as one network, with its spec and its classes.

    It is a `torch.nn.Module` with `encoder` and `head`, loaded without Lightning. Raises UserError
    when the run is no finished classifier, or its method has no network.
    """
    spec, classes = finished_classifier(folder)
    network = _network(spec, folder, classes)
    if network is None:
        raise UserError(
            f"run {folder.key} ({spec.title}) has no network to export: its fitted head cannot be "
            "written as layers; choose a run with head=linear, mlp or logistic"
        )
    return network, spec, classes


def _network(spec: RunSpec, folder: RunFolder, classes: list[str]) -> Any:
    """The network of a method, or None if the method has none."""
    made_by = part_class(spec.kind, spec.method.place)
    return made_by.network(spec, folder, classes) if hasattr(made_by, "network") else None

"""A finished classifier to work with: as its method loads it, or as one network where it is one."""

from typing import Any

from birds.core.checkpoint import finished_classifier
from birds.core.parts import part_class
from birds.core.spec import RunSpec, UserError
from birds.core.store import RunFolder
from birds.methods import load_method


def load_classifier(folder: RunFolder) -> tuple[Any, RunSpec, list[str]]:
    """The classifier of a run, callable on images as fractions, with its spec and its classes.

    Raises UserError when the run is no finished classifier.
    """
    spec, classes = finished_classifier(folder)
    return load_method(spec, folder, classes), spec, classes


def has_network(folder: RunFolder) -> bool:
    """Whether the method of a finished classifier is a network, which can be exported and timed."""
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
            f"run {folder.key} ({spec.title}) has no network to export: its fitted head has no form "
            "of layers; choose a run with head=linear, mlp or logistic"
        )
    return network, spec, classes


def _network(spec: RunSpec, folder: RunFolder, classes: list[str]) -> Any:
    """None for a method that has no network; its part says so."""
    made_by = part_class(spec.kind, spec.method.place)
    return made_by.network(spec, folder, classes) if hasattr(made_by, "network") else None

"""A finished run with quantized models: small and untrained, but otherwise complete."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

CLASSES = ["ROBIN", "WREN", "FINCH"]
ABOUT = {
    "variant": "A",
    "split": 70,
    "seed": 0,
    "backend": "onnxruntime",
    "image": {"size": 128},
    "classes": CLASSES,
    "test_accuracy": 0.9,
    "test_macro_f1": 0.9,
    "calibration": {},
    "made_from": {},
    "measured": {},
}


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The runs folder, and the key of the only run of the sweep `tiny`."""

    runs_dir: Path
    key: str


def _spec(head: str = "linear", train: str = "all") -> Any:
    from birds.core.parts import chosen_part
    from birds.core.spec import RunSpec

    chosen = {"head": chosen_part("head", {"name": head}), "train": train, "start": "init"}
    training = {
        "epochs": 1,
        "batch": 2,
        "lr": 1e-3,
        "weight_decay": 0,
        "warmup": 0,
        "augment": 0,
    }
    return RunSpec.model_validate(
        {
            "stage": "classify",
            "variant": "A",
            "data": {"name": "d", "digest": "0", "classes": 3},
            "image": {"size": 128},
            "split": 70,
            "seed": 0,
            "budget": "smoke",
            "encoder": chosen_part("encoder", {"name": "unet", "stem": 2, "widths": (8, 16)}),
            "method": chosen_part("classifier", {"name": "standard", **chosen}),
            "training": training if train == "all" else None,
        }
    )


def _leave_finished(runs_dir: Path, spec: Any, sweep: str) -> Any:
    """Write the spec and the record of a run, and its sweep; returns the run's folder."""
    from birds.core.record import make_record
    from birds.core.store import RunFolder

    folder = RunFolder(runs_dir, spec)
    folder.checkpoint("best").parent.mkdir(parents=True)
    folder.spec_file.write_text(spec.model_dump_json())
    measured = {"test_accuracy": 0.9, "test_macro_f1": 0.9, "images_test": 30, "classes": CLASSES}
    folder.record_file.write_text(make_record(spec, "0", measured).to_json())
    (runs_dir / "sweeps" / sweep).mkdir(parents=True)
    asked = json.dumps({"runs": [{"key": spec.key}]})
    (runs_dir / "sweeps" / sweep / "sweep.json").write_text(asked)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A run without models: spec, record, checkpoint and sweep.

    The same folder has the sweep `fitted` with one run whose head is fitted.
    """
    import torch

    from birds.methods.classify._by_gradient import GradientClassifier

    runs_dir = tmp_path_factory.mktemp("tiny") / "runs"
    spec = _spec()
    folder = _leave_finished(runs_dir, spec, "tiny")
    _leave_finished(runs_dir, _spec("svm", "head"), "fitted")
    classifier = GradientClassifier(spec, CLASSES, 1)
    # the head starts at 0 and would give equal logits for all images
    torch.nn.init.normal_(classifier.head.linear.weight)
    torch.save({"state_dict": classifier.state_dict()}, folder.checkpoint("best"))
    return Sweep(runs_dir, spec.key)


@pytest.fixture(scope="session")
def tiny_sweep(tiny_run: Sweep) -> Sweep:
    """The same run with one exported model under two names, as fp32 and as int8."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from birds.core.store import RunFolder
    from birds.use.networks import load_network
    from birds.use.quantize.export import exported
    from birds.use.quantize.models import Model

    folder = RunFolder(tiny_run.runs_dir, tiny_run.key)
    folder.models.mkdir()
    network, spec, _ = load_network(folder)
    data = exported(network, spec.image, {})
    for name in ("fp32", "int8"):
        file = folder.models / f"{name}.onnx"
        file.write_bytes(data)
        own = {"name": name, "precision": name, "file": file.name, "bytes": len(data)}
        Model(**ABOUT, **own, key=folder.key, folder=folder.models).write()
    return tiny_run

"""A finished run with quantized models, small, untrained, and otherwise all that a real one is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

WIDTHS = [8, 16]
SPECIES = ["ROBIN", "WREN", "FINCH"]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Where runs lie, and the key of the one run of the sweep `tiny`."""

    runs_dir: Path
    key: str


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A run without models: spec, record, checkpoint, and the sweep that asked for it."""
    import torch

    from birds.core.record import make_record
    from birds.core.spec import ClassifySpec
    from birds.core.store import RunFolder
    from birds.methods.classify.standard import Classify

    runs_dir = tmp_path_factory.mktemp("tiny") / "runs"
    spec = ClassifySpec.model_validate(
        {
            "data": {"name": "d", "digest": "0", "size": 128, "species": 3, "move_to_test": 0, "seed": 0},
            "encoder": {"name": "unet", "module": "unet", "stem": 2, "widths": WIDTHS},
            "training": {
                "epochs": 1, "batch": 2, "lr": 1e-3, "weight_decay": 0, "warmup": 0, "patience": 1, "augment": 0
            },
            "split": 70, "seed": 0, "budget": "smoke", "variant": "A", "transfer": "scratch", "pretrained": None,
            "label_smoothing": 0, "dropout": 0,
        }
    )  # fmt: skip
    folder, task = RunFolder(runs_dir, spec), Classify(spec, len(SPECIES), steps_per_epoch=1)
    folder.checkpoint("best").parent.mkdir(parents=True)
    torch.nn.init.normal_(
        task.head.linear.weight
    )  # the head starts at 0, and so would answer the same to all
    torch.save({"state_dict": task.state_dict()}, folder.checkpoint("best"))
    folder.spec_file.write_text(spec.model_dump_json())
    measured = {"test_accuracy": 0.9, "test_macro_f1": 0.9, "photos_test": 30, "species": SPECIES}
    folder.record_file.write_text(make_record(spec, "0", measured).to_json())
    (runs_dir / "sweeps" / "tiny").mkdir(parents=True)
    (runs_dir / "sweeps" / "tiny" / "sweep.json").write_text(
        json.dumps({"runs": [{"key": spec.key}]})
    )
    return Sweep(runs_dir, spec.key)


@pytest.fixture(scope="session")
def tiny_sweep(tiny_run: Sweep) -> Sweep:
    """The same run with an exported model that counts as fp32 and, under another name, as int8."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from birds.core.store import RunFolder
    from birds.use.predict import load_classifier
    from birds.use.quantize.export import exported
    from birds.use.quantize.models import Model

    folder = RunFolder(tiny_run.runs_dir, tiny_run.key)
    folder.models.mkdir()
    data = exported(load_classifier(folder)[0], {})
    for name in ("fp32", "int8"):
        (folder.models / f"{name}.onnx").write_bytes(data)
        about = {
            "name": name,
            "precision": name,
            "file": f"{name}.onnx",
            "bytes": len(data),
            "size": 128,
        }
        about |= {
            "key": folder.key,
            "variant": "A",
            "split": 70,
            "seed": 0,
            "backend": "onnxruntime",
        }
        about |= {
            "species": tuple(SPECIES),
            "test_accuracy": 0.9,
            "test_macro_f1": 0.9,
            "calibration": {},
        }
        Model(**about, made_from={}, measured={}, folder=folder.models).write()
    return tiny_run

"""From a finished run to its models: exported, quantized, measured over the whole test part, written with their JSON.

Read `quantize_run` first: it is the whole of it. The int8 model's JSON is written last, so where it is whole and made
from the same things, everything is there and nothing is done again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from birds.machine import INT8_INSTRUCTIONS, cpu_name, int8_instructions
from birds.metrics.classification import classification_metrics
from birds.predict import load_classifier
from birds.quantize import onnx_int8, openvino_int8
from birds.quantize.compare import compared
from birds.quantize.export import compared_with_checkpoint, exported
from birds.quantize.models import Classifier, Model, open_onnx, open_openvino, read_models, size_on_disk
from birds.quantize.photos import Evidence, evidence
from birds.spec import ClassifySpec
from birds.store import RunFolder, locked, write_atomically
from birds.tasks.classify import Classify

RECIPE = 1  # put up when the making of models changes what they predict
BACKENDS: dict[str, ModuleType] = {"onnxruntime": onnx_int8, "openvino": openvino_int8}
CALIBRATION = 256
MOST_LOST = 0.01  # accuracy that int8 may cost before layers go back to float
PROBED = 128  # calibration photos that a layer's sensitivity is measured on
BATCH = 64

Say = Callable[[str], object]


@dataclasses.dataclass(frozen=True)
class Order:
    """What to make: the backend, how many photos calibrate, and where the photos lie if not where they lay."""

    backend: str = "onnxruntime"
    calibration: int = CALIBRATION
    data_root: Path | None = None
    cache_dir: Path | None = None


def quantize_run(folder: RunFolder, order: Order, say: Say = lambda words: None) -> list[Model]:
    """The models of a finished classifier by this backend: fp32, int8, and bf16 or fp16 where the runtime has them.

    Made once: whole models made from the same checkpoint, backend, calibration and versions are returned as they are.
    Raises Refused for what a person can cure, RuntimeError when the export does not predict what the checkpoint does.
    """
    backend = BACKENDS[order.backend]
    versions = backend.require()
    task, species = load_classifier(folder)
    photos = evidence(
        folder, task.spec, calibration=order.calibration, data_root=order.data_root, cache_dir=order.cache_dir
    )
    made_from = _digest(folder, order, versions)
    place = folder.models
    with locked(place / "lock", lambda: say("waiting: another process makes its models")):
        if found := _whole(folder, backend, made_from):
            say("found, finished")
            return found
        work = _Work(folder, task, species, backend, photos, made_from, versions, say)
        with tempfile.TemporaryDirectory() as drafts:
            return work.done(Path(drafts))


def _digest(folder: RunFolder, order: Order, versions: Mapping[str, str]) -> str:
    """Twelve hex digits over all that goes into the models."""
    values = {
        "recipe": RECIPE,
        "checkpoint": hashlib.sha256(folder.checkpoint("best").read_bytes()).hexdigest(),
        "backend": order.backend,
        "calibration": order.calibration,
        "versions": {**versions, "torch": torch.__version__},
        "reduce_range": not int8_instructions(),
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _whole(folder: RunFolder, backend: ModuleType, made_from: str) -> list[Model]:
    """The backend's models when all of them are there and made from the same; else none."""
    found = [m for m in read_models(folder) if m.backend == backend.NAME and m.made_from == made_from]
    return found if {"fp32", "int8"} <= {model.precision for model in found} else []


@dataclasses.dataclass
class _Work:
    """Making the models of one run."""

    folder: RunFolder
    task: Classify
    species: list[str]
    backend: ModuleType
    evidence: Evidence
    made_from: str
    versions: Mapping[str, str]
    say: Say

    def done(self, drafts: Path) -> list[Model]:
        """Everything in order: export, float models, int8, their performance; then the files and, last, their JSON."""
        started = time.perf_counter()
        source = drafts / "exported.onnx"
        source.write_bytes(exported(self.task, self._about()))
        floats: dict[str, Path] = self.backend.float_models(source, drafts)
        tested = {precision: self._tested(path, precision) for precision, path in floats.items()}
        self.say(f"exported and checked, {time.perf_counter() - started:.0f} s")
        integers = drafts / f"int8{self.backend.SUFFIX}"
        kept, why = self._quantized_well(source, integers, tested["fp32"])
        tested["int8"] = self._tested(integers, "int8") | why
        tested["int8"] |= {"float_operations": self.backend.float_operations(integers), "kept_in_float": kept}
        seconds = time.perf_counter() - started
        self.say(f"quantized and measured, {seconds:.0f} s")
        return self._left(floats | {"int8": integers}, tested, seconds)

    def _about(self) -> dict[str, Any]:
        spec = self.task.spec
        who = {"key": spec.key, "variant": spec.variant, "split": spec.split, "seed": spec.seed}
        return {**who, "size": spec.data.size, "species": self.species}

    def _open(self, path: Path, precision: str) -> Classifier:
        if path.suffix == ".onnx":
            return open_onnx(path, torch.get_num_threads())
        return open_openvino(path, torch.get_num_threads(), precision, self.task.spec.data.size)

    def _logits(self, path: Path, precision: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        classify, count = self._open(path, precision), len(rows)
        parts = [classify(self.evidence.of(rows[k : k + BATCH])) for k in range(0, count, BATCH)]
        return np.concatenate(parts)

    def _tested(self, path: Path, precision: str) -> dict[str, Any]:
        """Logits and metrics over the validation and the whole test part; fp32 is compared with the checkpoint too."""
        result: dict[str, Any] = {}
        for part in ("valid", "test"):
            rows = self.evidence.photos.rows(part)
            logits = self._logits(path, precision, rows)
            label = self.evidence.photos.label[rows]
            result[f"{part}_logits"] = logits
            result |= classification_metrics(torch.from_numpy(logits), torch.from_numpy(label), prefix=f"{part}_")
        if precision == "fp32":
            few = self.evidence.of(self.evidence.photos.rows("test")[:BATCH])
            result["checkpoint"] = compared_with_checkpoint(self.task, self._open(path, precision), few)
        return result

    def _quantized_well(
        self, source: Path, target: Path, original: Mapping[str, Any]
    ) -> tuple[list[str], dict[str, Any]]:
        """Write the int8 model to `target`; the layers left in float, and the measurements that asked for it.

        Validation decides first; where the test part then still loses more than MOST_LOST it decides too, which is
        recorded: the test accuracy of such a model is no longer an unseen one.
        """
        kept: list[str] = []
        error: dict[str, float] = {}
        decided: list[str] = []
        self._quantize(source, target, kept)
        for part in ("valid", "test"):
            while self._lost(target, part, original) > MOST_LOST + 1e-9:
                error = error or self._sensitivity(source)
                rest = [name for name in error if name not in kept]
                if not rest:
                    break
                decided += [part] if part not in decided else []
                kept.append(rest[0])
                self.say(f"int8 loses too much on the {part} photos: leaving {', '.join(kept)} in float")
                self._quantize(source, target, kept)
        return kept, {"sensitivity": error, "decided_on": decided}

    def _quantize(self, source: Path, target: Path, in_float: Collection[str]) -> None:
        photos = self.evidence.of(self.evidence.calibration)
        self.backend.quantize(source, photos, target, in_float=in_float, reduce_range=not int8_instructions())

    def _lost(self, path: Path, part: str, original: Mapping[str, Any]) -> float:
        """Accuracy that the int8 model loses against fp32 on one part, a fraction."""
        rows = self.evidence.photos.rows(part)
        right = self._logits(path, "int8", rows).argmax(1) == self.evidence.photos.label[rows]
        return float(original[f"{part}_accuracy"] - right.mean())

    def _sensitivity(self, source: Path) -> dict[str, float]:
        """What each layer alone in int8 does to the logits of calibration photos, worst first, without labels.

        The mean squared error over the variance of the original's logits.
        """
        rows = self.evidence.calibration[:PROBED]
        photos, names = self.evidence.of(rows), self.backend.layers(source)
        original = open_onnx(source, torch.get_num_threads())(photos)
        error = {}
        with tempfile.TemporaryDirectory() as folder:
            alone = Path(folder) / f"alone{self.backend.SUFFIX}"
            for name in names:
                self.backend.quantize(
                    source,
                    photos,
                    alone,
                    in_float=[other for other in names if other != name],
                    reduce_range=not int8_instructions(),
                )
                difference = self._logits(alone, "int8", rows) - original
                error[name] = float((difference**2).mean() / original.var())
        return dict(sorted(error.items(), key=lambda entry: -entry[1]))

    def _left(self, drafts: dict[str, Path], tested: dict[str, dict[str, Any]], seconds: float) -> list[Model]:
        """The models in their place: files first, then the JSON of each, int8's last."""
        place = self.folder.models
        for precision in drafts:
            (place / f"{self.backend.PREFIX}{precision}.json").unlink(missing_ok=True)
        for precision, draft in drafts.items():
            if precision in ("fp32", "int8"):
                _put(draft, place / f"{self.backend.PREFIX}{precision}{self.backend.SUFFIX}")
        return [self._model(precision, tested, seconds).write() for precision in drafts]

    def _model(self, precision: str, tested: dict[str, dict[str, Any]], seconds: float) -> Model:
        place, spec = self.folder.models, self.task.spec
        stem = self.backend.PREFIX + ("int8" if precision == "int8" else "fp32")
        return Model(
            **{name: getattr(spec, name) for name in ("key", "variant", "split", "seed")},
            name=self.backend.PREFIX + precision,
            backend=self.backend.NAME,
            precision=precision,
            file=stem + self.backend.SUFFIX,
            bytes=size_on_disk(place / (stem + self.backend.SUFFIX)),
            size=spec.data.size,
            species=tuple(self.species),
            test_accuracy=tested[precision]["test_accuracy"],
            test_macro_f1=tested[precision]["test_macro_f1"],
            calibration=self._calibration(spec) if precision == "int8" else {},
            made_from=self.made_from,
            measured=self._measured(precision, tested, seconds),
            folder=place,
        )

    def _calibration(self, spec: ClassifySpec) -> dict[str, Any]:
        drawn = self.evidence.calibration
        content = "\n".join(self.evidence.photos.content[row] for row in drawn)
        return {
            "photos": len(drawn),
            "from": f"unlabelled training photos of split={spec.split} seed={spec.seed}",
            "digest": hashlib.sha256(content.encode()).hexdigest()[:12],
        }

    def _measured(self, precision: str, tested: dict[str, dict[str, Any]], seconds: float) -> dict[str, Any]:
        """Everything about one model that is not a column of its own."""
        own = {name: value for name, value in tested[precision].items() if not name.endswith("_logits")}
        if precision != "fp32":
            rows = self.evidence.photos.rows("test")
            own["against_fp32"] = compared(
                tested["fp32"]["test_logits"],
                tested[precision]["test_logits"],
                self.evidence.photos.label[rows],
                [self.evidence.photos.paths[row] for row in rows],
                self.species,
            )
        record = self.folder.record()
        return own | {
            "record_test_accuracy": record.value("test_accuracy") if record else None,
            "absent": self.backend.ABSENT,
            "int8_instructions": int8_instructions(),
            "cpu": cpu_name(),
            "seconds": seconds,
            "versions": {**self.versions, "torch": torch.__version__},
        }


def _put(draft: Path, target: Path) -> None:
    """Copy a model to its place, the weights beside an OpenVINO model first."""
    if draft.suffix == ".xml":
        _put(draft.with_suffix(".bin"), target.with_suffix(".bin"))
    with draft.open("rb") as file:
        write_atomically(target, lambda out: shutil.copyfileobj(file, out))


def warn_without_int8() -> None:
    """Say aloud that no speed is to be expected where the CPU names no 8-bit instructions."""
    if not int8_instructions():
        print(
            f"Note: {cpu_name()} names no int8 instructions ({', '.join(INT8_INSTRUCTIONS)}): "
            "int8 models get smaller here, but speed is not to be expected.",
            file=sys.stderr,
        )


def check_all(folders: Collection[RunFolder], order: Order) -> None:
    """Refuse before any work what would be refused in the middle of it: a missing backend, a missing checkpoint."""
    for module in (onnx_int8, BACKENDS[order.backend]):  # every export is an ONNX file first
        module.require()
    for folder in folders:
        load_classifier(folder)

"""From a finished run to its models: exported, quantized, measured over the whole test part, written with their JSON.

Read `quantize_run` first, then `_Work.done`: they are the whole of it. The int8 model's JSON is written last, so where
it is whole and made from the same things, everything is there and nothing is done again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birds.machine import INT8_INSTRUCTIONS, cpu_name, int8_instructions
from birds.metrics.classification import classification_metrics
from birds.predict import load_classifier
from birds.quantize import onnx_int8, openvino_int8
from birds.quantize.compare import compared, falls, paired
from birds.quantize.export import compared_with_checkpoint, exported
from birds.quantize.models import NEEDS, Classifier, Model, installed, open_file, read_models, size_on_disk
from birds.quantize.photos import Evidence, Order, evidence
from birds.store import RunFolder, locked, write_atomically
from birds.tasks.classify import Classify
from birds.tasks.robustness import NOISE, hits_under_noise

RECIPE = 2  # put up when the making of models changes what they predict
BACKENDS: dict[str, ModuleType] = {"onnxruntime": onnx_int8, "openvino": openvino_int8}
PROBED = 128  # calibration photos that a layer's sensitivity is measured on
BATCH = 64

Say = Callable[[str], object]


def quantize_run(folder: RunFolder, order: Order, say: Say = lambda words: None) -> list[Model]:
    """The models of a finished classifier by this backend: fp32, int8, and bf16 or fp16 where the runtime has them.

    Made once: whole models made from the same checkpoint, backend, calibration and versions are returned as they are.
    Raises Refused for what a person can cure, RuntimeError when the export does not predict what the checkpoint does.
    """
    made_from = {
        "recipe": RECIPE,
        "checkpoint": hashlib.sha256(folder.checkpoint("best").read_bytes()).hexdigest(),
        "calibration": order.calibration,
        "versions": {name: installed(name).__version__ for name in ("torch", *NEEDS[order.backend])},
        "reduce_range": not int8_instructions(),
    }
    task, species = load_classifier(folder)
    photos = evidence(folder, task.spec, order)
    with locked(folder.models / "lock", lambda: say("waiting: another process makes its models")):
        whole = [m for m in read_models(folder) if (m.backend, m.made_from) == (order.backend, made_from)]
        if {"fp32", "int8"} <= {model.precision for model in whole}:
            say("found, finished")
            return whole
        with tempfile.TemporaryDirectory() as drafts:
            return _Work(folder, task, species, order.backend, photos, made_from, Path(drafts), say).done()


@dataclasses.dataclass
class _Work:
    """Making the models of one run; `drafts` is a folder that is gone afterwards."""

    folder: RunFolder
    task: Classify
    species: list[str]
    backend: str
    evidence: Evidence
    made_from: dict[str, Any]
    drafts: Path
    say: Say

    @property
    def tools(self) -> ModuleType:
        """The module of the backend."""
        return BACKENDS[self.backend]

    def done(self) -> list[Model]:
        """Everything in order: export, float models, int8, their performance; then the files and, last, their JSON."""
        started = time.perf_counter()
        source, int8 = self.drafts / "exported.onnx", self.drafts / f"int8{self.tools.SUFFIX}"
        source.write_bytes(exported(self.task, self._about()))
        fp32 = self.tools.prepared(source, self.drafts)
        files: dict[str, Path] = {"fp32": fp32} | dict.fromkeys(self.tools.half_precisions(), fp32)
        measured = {precision: self._tested(path, precision) for precision, path in files.items()}
        few = self.evidence.of(self.evidence.photos.rows("test")[:BATCH])
        measured["fp32"]["checkpoint"] = compared_with_checkpoint(self.task, self._open(fp32, "fp32"), few)
        self.say(f"exported and checked, {time.perf_counter() - started:.0f} s")
        why = self._quantized_well(fp32, int8)
        measured["int8"] = self._tested(int8, "int8") | why
        measured["int8"]["float_operations"] = self.tools.float_operations(int8)
        files["int8"] = int8
        for precision in files.keys() - {"fp32"}:
            measured[precision]["against_fp32"] = self._against(fp32, files[precision], precision)
        seconds = time.perf_counter() - started
        self.say(f"quantized and measured, {seconds:.0f} s")
        return self._left(files, measured, seconds)

    def _about(self) -> dict[str, Any]:
        spec = self.task.spec
        who = {name: getattr(spec, name) for name in ("key", "variant", "split", "seed")}
        return {**who, "size": spec.data.size, "species": self.species}

    def _open(self, path: Path, precision: str) -> Classifier:
        return open_file(path, torch.get_num_threads(), precision, self.task.spec.data.size)

    def _logits(self, path: Path, precision: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        classify = self._open(path, precision)
        return np.concatenate([classify(self.evidence.of(rows[k : k + BATCH])) for k in range(0, len(rows), BATCH)])

    def _tested(self, path: Path, precision: str) -> dict[str, Any]:
        """Every metric of the record, over the validation and the whole test part."""
        result: dict[str, Any] = {}
        for part in ("valid", "test"):
            rows = self.evidence.photos.rows(part)
            logits = torch.from_numpy(self._logits(path, precision, rows))
            label = torch.from_numpy(self.evidence.photos.label[rows])
            result |= classification_metrics(logits, label, prefix=f"{part}_")
        return result | self._under_noise(self._open(path, precision))

    def _under_noise(self, model: Classifier) -> dict[str, list[float]]:
        """Accuracy on the test part with salt and pepper on the photos, as in the record."""

        def classify(photo: Tensor) -> Tensor:
            pixels = (255 * photo).round().byte().permute(0, 2, 3, 1).contiguous()
            return torch.from_numpy(model(pixels.numpy()))

        rows, hits = self.evidence.photos.rows("test"), []
        for k in range(0, len(rows), BATCH):
            some = torch.from_numpy(rows[k : k + BATCH])
            photo = torch.from_numpy(self.evidence.of(some.numpy())).permute(0, 3, 1, 2).float() / 255
            label = torch.from_numpy(self.evidence.photos.label[some.numpy()])
            hits.append(hits_under_noise(classify, {"photo": photo, "label": label, "row": some}, self.task.spec.seed))
        return {"test_noise": list(NOISE), "test_accuracy_noise": torch.cat(hits).double().mean(0).tolist()}

    def _quantized_well(self, fp32: Path, target: Path) -> dict[str, Any]:
        """Write the int8 model to `target`; which layers it has in float, and the measurements that asked for them.

        A part that shows a fall (`falls`) puts layer after layer back to float, worst first, until accuracy is within
        the allowance. Validation decides first; where the test part then still shows a fall it decides too, which is
        recorded: the test accuracy of such a model is no longer an unseen one.
        """
        kept: list[str] = []
        error: dict[str, float] = {}
        decided: list[str] = []
        self._quantize(fp32, target, kept)
        for part in ("valid", "test"):
            while falls(*self._lost_and_won(fp32, target, part), known=part in decided):
                error = error or self._sensitivity(fp32)
                rest = [name for name in error if name not in kept]
                if not rest:
                    break
                decided += [part] if part not in decided else []
                kept.append(rest[0])
                self.say(f"int8 loses too much on the {part} photos: leaving {', '.join(kept)} in float")
                self._quantize(fp32, target, kept)
        return {"kept_in_float": kept, "sensitivity": error, "decided_on": decided}

    def _quantize(self, fp32: Path, target: Path, in_float: Collection[str], most: int | None = None) -> None:
        photos = self.evidence.of(self.evidence.calibration[:most])
        self.tools.quantize(fp32, photos, target, in_float=in_float, reduce_range=not int8_instructions())

    def _lost_and_won(self, fp32: Path, int8: Path, part: str) -> tuple[int, int, int]:
        rows = self.evidence.photos.rows(part)
        first, second = self._logits(fp32, "fp32", rows), self._logits(int8, "int8", rows)
        return *paired(first.argmax(1), second.argmax(1), self.evidence.photos.label[rows]), len(rows)

    def _sensitivity(self, fp32: Path) -> dict[str, float]:
        """What each layer alone in int8 does to the logits of calibration photos, worst first, without labels.

        The mean squared error over the variance of the original's logits.
        """
        rows, names = self.evidence.calibration[:PROBED], self.tools.layers(fp32)
        original, alone = self._logits(fp32, "fp32", rows), self.drafts / f"alone{self.tools.SUFFIX}"
        error = {}
        for name in names:
            self._quantize(fp32, alone, [other for other in names if other != name], PROBED)
            difference = self._logits(alone, "int8", rows) - original
            error[name] = float((difference**2).mean() / original.var())
        return dict(sorted(error.items(), key=lambda entry: -entry[1]))

    def _against(self, fp32: Path, twin: Path, precision: str) -> dict[str, Any]:
        photos, rows = self.evidence.photos, self.evidence.photos.rows("test")
        logits = self._logits(fp32, "fp32", rows), self._logits(twin, precision, rows)
        return compared(*logits, photos.label[rows], [photos.paths[row] for row in rows], self.species)

    def _left(self, files: dict[str, Path], measured: dict[str, dict[str, Any]], seconds: float) -> list[Model]:
        """The models in their place: files first, then the JSON of each, int8's last."""
        for precision in files:
            (self.folder.models / f"{self.tools.PREFIX}{precision}.json").unlink(missing_ok=True)
        for precision in ("fp32", "int8"):
            _put(files[precision], self.folder.models / f"{self.tools.PREFIX}{files[precision].name}")
        shared = {"absent": self.tools.ABSENT, "int8_instructions": int8_instructions(), "seconds": seconds}
        shared |= {"cpu": cpu_name()}
        return [self._model(precision, path, measured[precision] | shared).write() for precision, path in files.items()]

    def _model(self, precision: str, draft: Path, measured: dict[str, Any]) -> Model:
        drawn, file = self.evidence.calibration, f"{self.tools.PREFIX}{draft.name}"
        content = "\n".join(self.evidence.photos.content[row] for row in drawn)
        calibration = {"photos": len(drawn), "digest": hashlib.sha256(content.encode()).hexdigest()[:12]}
        return Model(
            **self._about() | {"species": tuple(self.species)},
            name=self.tools.PREFIX + precision,
            backend=self.backend,
            precision=precision,
            file=file,
            bytes=size_on_disk(self.folder.models / file),
            test_accuracy=measured["test_accuracy"],
            test_macro_f1=measured["test_macro_f1"],
            calibration=calibration if precision == "int8" else {},
            made_from=self.made_from,
            measured=measured,
            folder=self.folder.models,
        )


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
    for package in (*NEEDS["onnxruntime"], *NEEDS[order.backend]):  # every export is an ONNX file first
        installed(package)
    for folder in folders:
        load_classifier(folder)

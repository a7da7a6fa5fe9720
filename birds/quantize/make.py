"""From a finished run to its models: exported, quantized, measured over the whole test part, written with their JSON.

Read `quantize_run` first, then `_Work.done`: they are the whole of it. The int8 model's JSON is written last, so where
it is whole and made from the same things, everything is there and nothing is done again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birds.data.module import Batch
from birds.machine import cpu_name, int8_instructions
from birds.metrics.classification import classification_metrics
from birds.predict import load_classifier
from birds.quantize import onnx_int8, openvino_int8
from birds.quantize.compare import compared, falls, paired
from birds.quantize.export import compared_with_checkpoint, exported
from birds.quantize.models import NEEDS, Classifier, Model, batches, installed, open_file, read_models, size_on_disk
from birds.quantize.photos import Evidence, Order, evidence
from birds.store import RunFolder, locked, write_atomically
from birds.tasks.classify import Classify
from birds.tasks.robustness import NOISE, hits_under_noise

RECIPE = 2  # put up when the making of models changes what they predict
BACKENDS: dict[str, ModuleType] = {"onnxruntime": onnx_int8, "openvino": openvino_int8}
PROBED = 128  # calibration photos that a layer's sensitivity is measured on
BATCH = 64

Say = Callable[[str], object]
Said = dict[str, NDArray[np.float32]]  # logits (N, S) by part


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

    def __post_init__(self) -> None:
        photos, spec = self.evidence.photos, self.task.spec
        self.tools = BACKENDS[self.backend]
        self.rows = {part: photos.rows(part) for part in ("valid", "test")}
        self.label = {part: photos.label[rows] for part, rows in self.rows.items()}
        self.about = {name: getattr(spec, name) for name in ("key", "variant", "split", "seed")}
        self.about |= {"size": spec.data.size, "species": self.species}

    def done(self) -> list[Model]:
        """Everything in order: export, float models, int8, their performance; then the files and, last, their JSON."""
        started = time.perf_counter()
        source, int8 = self.drafts / "exported.onnx", self.drafts / f"int8{self.tools.SUFFIX}"
        source.write_bytes(exported(self.task, self.about))
        fp32 = self.tools.prepared(source, self.drafts)
        few = self.evidence.of(self.rows["test"][:BATCH])
        checked = compared_with_checkpoint(self.task, self._open(fp32, "fp32"), few)
        self.say(f"exported and checked, {time.perf_counter() - started:.0f} s")
        files: dict[str, Path] = {"fp32": fp32} | dict.fromkeys(self.tools.half_precisions(), fp32)
        said = {precision: self._said(path, precision) for precision, path in files.items()}
        why = self._quantized_well(fp32, int8, said)
        files["int8"] = int8
        measured = {precision: self._measured(path, precision, said) for precision, path in files.items()}
        measured["fp32"]["checkpoint"] = checked
        measured["int8"] |= why | {"float_operations": self.tools.float_operations(int8)}
        seconds = time.perf_counter() - started
        self.say(f"quantized and measured, {seconds:.0f} s")
        return self._left(files, measured, seconds)

    def _open(self, path: Path, precision: str) -> Classifier:
        return open_file(path, torch.get_num_threads(), precision, self.task.spec.data.size)

    def _logits(self, path: Path, precision: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        classify = self._open(path, precision)
        return np.concatenate([classify(self.evidence.of(some)) for some in batches(rows, BATCH)])

    def _said(self, path: Path, precision: str) -> Said:
        """The logits of the validation and of the whole test part."""
        return {part: self._logits(path, precision, rows) for part, rows in self.rows.items()}

    def _measured(self, path: Path, precision: str, said: Mapping[str, Said]) -> dict[str, Any]:
        """Every metric of the record, and what the model costs against fp32."""
        found: dict[str, Any] = self._under_noise(self._open(path, precision))
        for part, logits in said[precision].items():
            label = torch.from_numpy(self.label[part])
            found |= classification_metrics(torch.from_numpy(logits), label, prefix=f"{part}_")
        if precision != "fp32":
            both = said["fp32"]["test"], said[precision]["test"]
            paths = [self.evidence.photos.paths[row] for row in self.rows["test"]]
            found["against_fp32"] = compared(*both, self.label["test"], paths, self.species)
        return found

    def _under_noise(self, model: Classifier) -> dict[str, list[float]]:
        """Accuracy on the test part with salt and pepper on the photos, as in the record."""

        def classify(photo: Tensor) -> Tensor:
            pixels = (255 * photo).round().byte().permute(0, 2, 3, 1)
            return torch.from_numpy(model(pixels.contiguous().numpy()))

        hits = []
        for rows in batches(self.rows["test"], BATCH):
            photo = torch.from_numpy(self.evidence.of(rows)).permute(0, 3, 1, 2).float() / 255
            label = torch.from_numpy(self.evidence.photos.label[rows])
            batch = Batch(photo=photo, label=label, row=torch.from_numpy(rows))
            hits.append(hits_under_noise(classify, batch, self.task.spec.seed))
        return {"test_noise": list(NOISE), "test_accuracy_noise": torch.cat(hits).double().mean(0).tolist()}

    def _quantized_well(self, fp32: Path, target: Path, said: dict[str, Said]) -> dict[str, Any]:
        """Write the int8 model to `target`, what it says to `said`; which layers stay in float, and what asked for it.

        A part that shows a fall (`falls`) puts layer after layer back to float, worst first, until accuracy is within
        the allowance. Validation decides first; where the test part then still shows a fall it decides too, which is
        recorded: the test accuracy of such a model is no longer an unseen one.
        """
        kept: list[str] = []
        error: dict[str, float] = {}
        decided: list[str] = []

        def lost_and_won(part: str) -> tuple[int, int]:
            return paired(said["fp32"][part].argmax(1), said["int8"][part].argmax(1), self.label[part])

        self._quantize(fp32, target, kept)
        said["int8"] = self._said(target, "int8")
        for part, label in self.label.items():
            while falls(*lost_and_won(part), len(label), known=part in decided):
                error = error or self._sensitivity(fp32)
                if len(kept) == len(error):
                    break
                kept = list(error)[: len(kept) + 1]
                decided += [part] if part not in decided else []
                self.say(f"int8 loses too much on the {part} photos: leaving {', '.join(kept)} in float")
                self._quantize(fp32, target, kept)
                said["int8"] = self._said(target, "int8")
        return {"kept_in_float": kept, "sensitivity": error, "decided_on": decided}

    def _quantize(self, fp32: Path, target: Path, in_float: Collection[str], most: int | None = None) -> None:
        photos = self.evidence.of(self.evidence.calibration[:most])
        self.tools.quantize(fp32, photos, target, in_float=in_float, reduce_range=not int8_instructions())

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

    def _left(self, files: dict[str, Path], measured: dict[str, dict[str, Any]], seconds: float) -> list[Model]:
        """The models in their place: files first, then the JSON of each, int8's last."""
        place, prefix = self.folder.models, self.tools.PREFIX
        for precision in files:
            (place / f"{prefix}{precision}.json").unlink(missing_ok=True)
        for precision in ("fp32", "int8"):
            _put(files[precision], place / f"{prefix}{files[precision].name}")
        shared = {"absent": self.tools.ABSENT, "int8_instructions": int8_instructions(), "seconds": seconds}
        shared |= {"cpu": cpu_name()}
        return [
            Model(
                **self.about | {"species": tuple(self.species)},
                name=prefix + precision,
                backend=self.backend,
                precision=precision,
                file=prefix + path.name,
                bytes=size_on_disk(place / (prefix + path.name)),
                test_accuracy=measured[precision]["test_accuracy"],
                test_macro_f1=measured[precision]["test_macro_f1"],
                calibration=self.evidence.calibrated_on() if precision == "int8" else {},
                made_from=self.made_from,
                measured=measured[precision] | shared,
                folder=place,
            ).write()
            for precision, path in files.items()
        ]


def _put(draft: Path, target: Path) -> None:
    """Copy a model to its place, the weights beside an OpenVINO model first."""
    if draft.suffix == ".xml":
        _put(draft.with_suffix(".bin"), target.with_suffix(".bin"))
    with draft.open("rb") as file:
        write_atomically(target, lambda out: shutil.copyfileobj(file, out))


def check_all(folders: Collection[RunFolder], order: Order) -> None:
    """Refuse before any work what would be refused in the middle of it: a missing backend, a missing checkpoint."""
    for package in (*NEEDS["onnxruntime"], *NEEDS[order.backend]):  # every export is an ONNX file first
        installed(package)
    for folder in folders:
        load_classifier(folder)

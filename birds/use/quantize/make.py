"""From a finished run to its models: exported, quantized, measured over the whole test part,
written with their JSON.

Read `quantize_run` first, then `_Work.done`: they are the whole of it. The int8 model's JSON is
written last, so where it is whole and made from the same things, everything is there and nothing is
done again.
"""

import dataclasses
import hashlib
import importlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birds.core.machine import cpu_name, int8_instructions
from birds.core.randomness import stream
from birds.core.spec import ClassifySpec, UserError
from birds.core.store import RunFolder, locked, write_atomically
from birds.data.module import BirdsDataModule
from birds.data.reopen import reopened
from birds.methods.classify.robustness import accuracy_under_noise, hits_under_noise
from birds.metrics.classification import classification_metrics
from birds.use.predict import load_classifier
from birds.use.quantize.compare import compared, falls, paired
from birds.use.quantize.export import compared_with_checkpoint, exported
from birds.use.quantize.models import (
    NEEDS,
    Classifier,
    Model,
    installed,
    open_file,
    read_models,
    size_on_disk,
)

RECIPE = 2  # put up when the making of models changes what they predict
TOOLS = {
    "onnxruntime": "birds.use.quantize.onnx_int8",
    "openvino": "birds.use.quantize.openvino_int8",
}
PROBED = 128  # calibration photos that a layer's sensitivity is measured on
BATCH, CALIBRATION_BATCH = 64, 32

Say = Callable[[str], object]
Said = dict[str, NDArray[np.float32]]  # logits (N, S) by part


@dataclasses.dataclass(frozen=True)
class Order:
    """What to make: the backend, how many photos calibrate, and where the photos lie if not where
    they lay.
    """

    backend: str = "onnxruntime"
    calibration: int = 256
    data_root: Path | None = None
    cache_dir: Path | None = None


def quantize_run(folder: RunFolder, order: Order, say: Say = lambda words: None) -> list[Model]:
    """The models of a finished classifier by this backend: fp32, int8, and bf16 or fp16 where the
    runtime has them.

    Made once: whole models made from the same checkpoint, backend, calibration and versions are
    returned as they are. Raises UserError for what a person can cure, RuntimeError when the export
    does not predict what the checkpoint does.
    """
    made_from = {
        "recipe": RECIPE,
        "checkpoint": hashlib.sha256(folder.checkpoint("best").read_bytes()).hexdigest(),
        "calibration": order.calibration,
        "versions": {
            name: installed(name).__version__ for name in ("torch", *NEEDS[order.backend])
        },
        "reduce_range": not int8_instructions(),
    }
    with locked(folder.models / "lock", lambda: say("waiting: another process makes its models")):
        whole = [
            m for m in read_models(folder) if (m.backend, m.made_from) == (order.backend, made_from)
        ]
        if {"fp32", "int8"} <= {model.precision for model in whole}:
            say("found, finished")
            return whole
        with tempfile.TemporaryDirectory() as drafts:
            return _Work(folder, order, Path(drafts), say).done(made_from)


class _Work:
    """Making the models of one run; `drafts` is a folder that is gone afterwards."""

    def __init__(self, folder: RunFolder, order: Order, drafts: Path, say: Say) -> None:
        self.folder, self.backend, self.drafts, self.say = folder, order.backend, drafts, say
        self.tools = importlib.import_module(TOOLS[order.backend])
        self.task, species = load_classifier(folder)
        self.data, self.calibration = evidence(folder, self.task.spec, order)
        self.rows = {part: self.data.rows[part] for part in ("valid", "test")}
        self.label = {part: self.data.label[rows] for part, rows in self.rows.items()}
        self.about = {
            name: getattr(self.task.spec, name) for name in ("key", "variant", "split", "seed")
        }
        self.about |= {"size": self.task.spec.data.size, "species": species}

    def done(self, made_from: dict[str, Any]) -> list[Model]:
        """Everything in order: export, float models, int8, their performance; then the files and,
        last, their JSON.
        """
        started = time.perf_counter()
        source, int8 = self.drafts / "exported.onnx", self.drafts / f"int8{self.tools.SUFFIX}"
        source.write_bytes(exported(self.task, self.about))
        fp32 = self.tools.prepared(source, self.drafts)
        checked = compared_with_checkpoint(
            self.task, self._open(fp32, "fp32"), self._photos(self.rows["test"][:BATCH])
        )
        self.say(f"exported and checked, {time.perf_counter() - started:.0f} s")
        files: dict[str, Path] = {"fp32": fp32} | dict.fromkeys(self.tools.half_precisions(), fp32)
        said = {precision: self._said(path, precision) for precision, path in files.items()}
        why = self._quantized_well(fp32, int8, said)
        files["int8"] = int8
        measured = {
            precision: self._measured(path, precision, said) for precision, path in files.items()
        }
        measured["fp32"]["checkpoint"] = checked
        in_float = Counter(self.tools.float_operations(int8))
        measured["int8"] |= why | {
            "float_operations": [f"{name} x{count}" for name, count in in_float.items()]
        }
        shared = {
            "absent": self.tools.ABSENT,
            "int8_instructions": int8_instructions(),
            "cpu": cpu_name(),
        }
        shared["seconds"] = time.perf_counter() - started
        self.say(f"quantized and measured, {shared['seconds']:.0f} s")
        return self._left(
            files, {name: found | shared for name, found in measured.items()}, made_from
        )

    def _photos(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The photos of some rows, in memory."""
        return np.ascontiguousarray(self.data.pixels[rows])

    def _open(self, path: Path, precision: str) -> Classifier:
        return open_file(path, torch.get_num_threads(), precision, self.task.spec.data.size)

    def _logits(self, path: Path, precision: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        classify = self._open(path, precision)
        return np.concatenate(
            [classify(self._photos(rows[k : k + BATCH])) for k in range(0, len(rows), BATCH)]
        )

    def _said(self, path: Path, precision: str) -> Said:
        """The logits of the validation and of the whole test part."""
        return {part: self._logits(path, precision, rows) for part, rows in self.rows.items()}

    def _measured(self, path: Path, precision: str, said: Mapping[str, Said]) -> dict[str, Any]:
        """Every metric of the record, and what the model costs against fp32."""
        clean = said[precision]["test"].argmax(1) == self.label["test"]
        found: dict[str, Any] = self._under_noise(self._open(path, precision), clean)
        for part, logits in said[precision].items():
            label = torch.from_numpy(self.label[part])
            found |= classification_metrics(torch.from_numpy(logits), label, prefix=f"{part}_")
        if precision != "fp32":
            both = said["fp32"]["test"], said[precision]["test"]
            paths = [self.data.photos.paths[row] for row in self.rows["test"]]
            found["against_fp32"] = compared(
                *both, self.label["test"], paths, self.about["species"]
            )
        return found

    def _under_noise(self, model: Classifier, clean: NDArray[np.bool_]) -> dict[str, list[float]]:
        """Accuracy on the test part with salt and pepper on the photos, as in the record; `clean`:
        told without it.
        """

        def classify(photo: Tensor) -> Tensor:
            pixels = (255 * photo).round().byte().permute(0, 2, 3, 1)
            return torch.from_numpy(model(pixels.contiguous().numpy()))

        batches = self.data.evaluation_batches("test")
        hits = [hits_under_noise(classify, batch, self.task.spec.seed) for batch in batches]
        return accuracy_under_noise(
            torch.cat([torch.from_numpy(clean)[:, None], torch.cat(hits)], dim=1)
        )

    def _quantized_well(self, fp32: Path, target: Path, said: dict[str, Said]) -> dict[str, Any]:
        """Write the int8 model to `target`, what it says to `said`; which layers stay in float, and
        what asked for it.

        A part that shows a fall (`falls`) puts layer after layer back to float, worst first, until
        accuracy is within the allowance. Validation decides first; where the test part then still
        shows a fall it decides too, which is
        recorded: the test accuracy of such a model is no longer an unseen one.
        """
        kept: list[str] = []
        error: dict[str, float] = {}
        decided: list[str] = []

        def lost_and_won(part: str) -> tuple[int, int]:
            return paired(
                said["fp32"][part].argmax(1), said["int8"][part].argmax(1), self.label[part]
            )

        self._quantize(fp32, target, kept)
        said["int8"] = self._said(target, "int8")
        for part, label in self.label.items():
            while falls(*lost_and_won(part), len(label), known=part in decided):
                error = error or self._sensitivity(fp32)
                if len(kept) == len(error):
                    break
                kept = list(error)[: len(kept) + 1]
                decided += [part] if part not in decided else []
                self.say(
                    f"int8 loses too much on the {part} photos: leaving {', '.join(kept)} in float"
                )
                self._quantize(fp32, target, kept)
                said["int8"] = self._said(target, "int8")
        return {"kept_in_float": kept, "sensitivity": error, "decided_on": decided}

    def _quantize(
        self, fp32: Path, target: Path, in_float: Collection[str], most: int | None = None
    ) -> None:
        photos = self._photos(self.calibration[:most])
        batches = (
            photos[k : k + CALIBRATION_BATCH] for k in range(0, len(photos), CALIBRATION_BATCH)
        )
        self.tools.quantize(fp32, batches, target, in_float)

    def _sensitivity(self, fp32: Path) -> dict[str, float]:
        """What each layer alone in int8 does to the logits of calibration photos, worst first,
        without labels.

        The mean squared error over the variance of the original's logits.
        """
        rows, names = self.calibration[:PROBED], self.tools.layers(fp32)
        original, alone = (
            self._logits(fp32, "fp32", rows),
            self.drafts / f"alone{self.tools.SUFFIX}",
        )
        error = {}
        for name in names:
            self._quantize(fp32, alone, [other for other in names if other != name], PROBED)
            difference = self._logits(alone, "int8", rows) - original
            error[name] = float((difference**2).mean() / original.var())
        return dict(sorted(error.items(), key=lambda entry: -entry[1]))

    def _left(
        self, files: dict[str, Path], measured: dict[str, dict[str, Any]], made_from: Any
    ) -> list[Model]:
        """The models in their place: files first, then the JSON of each, int8's last."""
        place, prefix = self.folder.models, self.tools.PREFIX
        for precision in files:
            (place / f"{prefix}{precision}.json").unlink(missing_ok=True)
        for precision in ("fp32", "int8"):
            _put(files[precision], place / f"{prefix}{files[precision].name}")
        models = []
        for precision, path in files.items():
            file, found = place / f"{prefix}{path.name}", measured[precision]
            about = self.about | {
                "name": prefix + precision,
                "precision": precision,
                "backend": self.backend,
            }
            about |= {
                "file": file.name,
                "bytes": size_on_disk(file),
                "made_from": made_from,
                "measured": found,
            }
            about |= {name: found[name] for name in ("test_accuracy", "test_macro_f1")}
            about["calibration"] = self._calibrated_on() if precision == "int8" else {}
            models.append(Model(**about, folder=place).write())
        return models

    def _calibrated_on(self) -> dict[str, Any]:
        """How many photos calibrate, and a digest over their contents."""
        content = "\n".join(self.data.photos.content[row] for row in self.calibration)
        return {
            "photos": len(self.calibration),
            "digest": hashlib.sha256(content.encode()).hexdigest()[:12],
        }


def evidence(
    folder: RunFolder, spec: ClassifySpec, order: Order
) -> tuple[BirdsDataModule, NDArray[np.int64]]:
    """The photos of a run, from the image cache (built when it is gone), and the rows of those that
    calibrate.

    These are unlabelled training photos of the run's own split, as many as `order` says, drawn with
    the run's seed; all of them when there are fewer. Raises UserError when none is asked for, or the
    photos cannot be found or have changed.
    """
    if order.calibration < 1:
        raise UserError(
            f"--calibration {order.calibration}: int8 needs photos to set its ranges; choose 1 or more, such as 256"
        )
    data = reopened(folder, spec, order.data_root, order.cache_dir)
    unlabelled = data.rows["unlabelled"]
    shuffled = stream(spec.seed, "calibration").permutation(len(unlabelled))
    return data, unlabelled[np.sort(shuffled[: order.calibration])]


def _put(draft: Path, target: Path) -> None:
    """Copy a model to its place, the weights beside an OpenVINO model first."""
    if draft.suffix == ".xml":
        _put(draft.with_suffix(".bin"), target.with_suffix(".bin"))
    with draft.open("rb") as file:
        write_atomically(target, lambda out: shutil.copyfileobj(file, out))


def check_all(folders: Collection[RunFolder], order: Order) -> None:
    """Refuse before any work what would be refused in the middle of it: a missing backend, a
    missing checkpoint.
    """
    for package in (
        *NEEDS["onnxruntime"],
        *NEEDS[order.backend],
    ):  # every export is an ONNX file first
        installed(package)
    for folder in folders:
        load_classifier(folder)

"""Makes the models of a finished run: exports, quantizes, tests on the whole test part, and writes
the files.

`quantize_run` and then `_Work.done` show the whole process. The int8 model's JSON is written last.
If it is complete and made from the same inputs, all models exist and nothing is repeated.
"""

import hashlib
import importlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch

from birds.core.locks import locked
from birds.core.machine import cpu_name, int8_instructions
from birds.core.store import RunFolder, write_atomically
from birds.use.networks import load_classifier, load_network
from birds.use.quantize.compare import falls, paired
from birds.use.quantize.evidence import BATCH, Evidence, Order, Said
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

RECIPE = 3  # increase this when a change of this module changes the models' predictions
TOOLS = {
    "onnxruntime": "birds.use.quantize.onnx_int8",
    "openvino": "birds.use.quantize.openvino_int8",
}
PROBED = 128  # how many calibration images measure a layer's sensitivity

Say = Callable[[str], object]
Values = dict[str, Any]


def quantize_run(folder: RunFolder, order: Order, say: Say = lambda words: None) -> list[Model]:
    """The models of a finished classifier by this backend: fp32, int8, and bf16 or fp16 if
    supported.

    Complete models that were made from the same checkpoint, backend, calibration and versions are
    returned as they are. Raises UserError for problems that the user can correct, and RuntimeError
    when the export does not reproduce the checkpoint.
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
    asked = (order.backend, made_from)
    with locked(
        folder.models / "lock", lambda: say("waiting: another process is making its models")
    ):
        whole = [one for one in read_models(folder) if (one.backend, one.made_from) == asked]
        if {"fp32", "int8"} <= {model.precision for model in whole}:
            say("models exist already")
            return whole
        with tempfile.TemporaryDirectory() as drafts:
            return _Work(folder, order, Path(drafts), say).done(made_from)


class _Work:
    """Makes the models of one run. `drafts` is a temporary folder."""

    def __init__(self, folder: RunFolder, order: Order, drafts: Path, say: Say) -> None:
        self.folder = folder
        self.backend = order.backend
        self.drafts = drafts
        self.say = say
        self.tools = importlib.import_module(TOOLS[order.backend])
        self.network, self.spec, classes = load_network(folder)
        self.evidence = Evidence(folder, self.spec, order)
        self.about: Values = {
            name: getattr(self.spec, name) for name in ("key", "variant", "split", "seed")
        }
        self.about |= {"image": self.spec.image.model_dump(), "classes": classes}

    def done(self, made_from: Values) -> list[Model]:
        """Export, make float models, make int8, test them; then write the files and, last, their
        JSON.
        """
        started = time.perf_counter()
        fp32, checked = self._exported()
        self.say(f"exported and checked, {time.perf_counter() - started:.0f} s")
        files: dict[str, Path] = {"fp32": fp32} | dict.fromkeys(self.tools.half_precisions(), fp32)
        said = {precision: self._said(path, precision) for precision, path in files.items()}
        files["int8"] = self.drafts / f"int8{self.tools.SUFFIX}"
        why = self._quantized_well(fp32, files["int8"], said)
        measured = {}
        for precision, path in files.items():
            measured[precision] = self._measured(path, precision, said)
        measured["fp32"]["checkpoint"] = checked
        measured["int8"] |= why | self._left_in_float(files["int8"])
        shared = {
            "absent": self.tools.ABSENT,
            "int8_instructions": int8_instructions(),
            "cpu": cpu_name(),
            "seconds": time.perf_counter() - started,
        }
        self.say(f"quantized and measured, {shared['seconds']:.0f} s")
        complete = {name: found | shared for name, found in measured.items()}
        return self._left(files, complete, made_from)

    def _exported(self) -> tuple[Path, Values]:
        """The fp32 model of this runtime, and its difference from the checkpoint."""
        source = self.drafts / "exported.onnx"
        source.write_bytes(exported(self.network, self.spec.image, self.about))
        fp32: Path = self.tools.prepared(source, self.drafts)
        classifier, _, _ = load_classifier(self.folder)
        images = self.evidence.images(self.evidence.rows["test"][:BATCH])
        return fp32, compared_with_checkpoint(classifier, self._open(fp32, "fp32"), images)

    def _open(self, path: Path, precision: str) -> Classifier:
        return open_file(path, torch.get_num_threads(), precision, self.spec.image)

    def _said(self, path: Path, precision: str) -> Said:
        return self.evidence.said(self._open(path, precision))

    def _measured(self, path: Path, precision: str, said: dict[str, Said]) -> Values:
        """Every metric of the record for a model, and its comparison with fp32."""
        found = self.evidence.measured(self._open(path, precision), said[precision])
        if precision != "fp32":
            found["against_fp32"] = self.evidence.against(said["fp32"], said[precision])
        return found

    def _left_in_float(self, int8: Path) -> Values:
        counts = Counter(self.tools.float_operations(int8))
        return {"float_operations": [f"{name} x{count}" for name, count in counts.items()]}

    def _quantized_well(self, fp32: Path, target: Path, said: dict[str, Said]) -> Values:
        """Write the int8 model to `target` and its logits to `said`.

        Returns which layers stay in float, and which part of the data decided it. If a part shows a
        loss of accuracy (`falls`), one layer after another goes back to float, the worst first,
        until the loss is allowed. Validation decides first. If the test part then still shows a
        loss, it decides, too. This is recorded, because the test images of such a model are no
        longer unseen.
        """
        kept: list[str] = []
        error: dict[str, float] = {}
        decided: list[str] = []
        self._quantize(fp32, target, kept)
        said["int8"] = self._said(target, "int8")
        for part, label in self.evidence.label.items():
            while falls(*self._changed(said, part), len(label), known=part in decided):
                error = error or self._sensitivity(fp32)
                if len(kept) == len(error):
                    break
                kept = list(error)[: len(kept) + 1]
                decided += [part] if part not in decided else []
                layers = ", ".join(kept)
                self.say(f"int8 loses too much on the {part} images: leaving {layers} in float")
                self._quantize(fp32, target, kept)
                said["int8"] = self._said(target, "int8")
        return {"kept_in_float": kept, "sensitivity": error, "decided_on": decided}

    def _changed(self, said: dict[str, Said], part: str) -> tuple[int, int]:
        """How many images of a part only fp32 gets right, and how many only int8 gets right."""
        was, now = said["fp32"][part].argmax(1), said["int8"][part].argmax(1)
        return paired(was, now, self.evidence.label[part])

    def _quantize(
        self, fp32: Path, target: Path, in_float: Collection[str], most: int | None = None
    ) -> None:
        self.tools.quantize(fp32, self.evidence.calibrating(most), target, in_float)

    def _sensitivity(self, fp32: Path) -> dict[str, float]:
        """For each layer, the error of the logits if only this layer is int8; worst layer first.

        It is the mean squared error on calibration images, divided by the variance of the original
        logits. No labels are used.
        """
        rows = self.evidence.calibration[:PROBED]
        names = self.tools.layers(fp32)
        original = self.evidence.logits(self._open(fp32, "fp32"), rows)
        alone = self.drafts / f"alone{self.tools.SUFFIX}"
        error = {}
        for name in names:
            self._quantize(fp32, alone, [other for other in names if other != name], PROBED)
            difference = self.evidence.logits(self._open(alone, "int8"), rows) - original
            error[name] = float((difference**2).mean() / original.var())
        return dict(sorted(error.items(), key=lambda entry: -entry[1]))

    def _left(
        self, files: dict[str, Path], measured: dict[str, Values], made_from: Values
    ) -> list[Model]:
        """Put the models in their place: the files first, then the JSON of each, int8's last."""
        place = self.folder.models
        prefix = self.tools.PREFIX
        for precision in files:
            (place / f"{prefix}{precision}.json").unlink(missing_ok=True)
        for precision in ("fp32", "int8"):
            _put(files[precision], place / f"{prefix}{files[precision].name}")
        models = []
        for precision, path in files.items():
            file = place / f"{prefix}{path.name}"
            models.append(self._described(precision, file, measured[precision], made_from).write())
        return models

    def _described(self, precision: str, file: Path, found: Values, made_from: Values) -> Model:
        calibration = self.evidence.calibrated_on() if precision == "int8" else {}
        return Model(
            **self.about,
            name=self.tools.PREFIX + precision,
            precision=precision,
            backend=self.backend,
            file=file.name,
            bytes=size_on_disk(file),
            made_from=made_from,
            measured=found,
            test_accuracy=found["test_accuracy"],
            test_macro_f1=found["test_macro_f1"],
            calibration=calibration,
            folder=file.parent,
        )


def _put(draft: Path, target: Path) -> None:
    """Copy a model to its place; an OpenVINO model's weights file first."""
    if draft.suffix == ".xml":
        _put(draft.with_suffix(".bin"), target.with_suffix(".bin"))
    with draft.open("rb") as file:
        write_atomically(target, lambda out: shutil.copyfileobj(file, out))


def check_all(folders: Collection[RunFolder], order: Order) -> None:
    """Raise UserError before any work starts for problems that would stop it in the middle.

    These are a missing backend, a missing checkpoint, or a classifier that is no network.
    """
    onnx_comes_first = NEEDS["onnxruntime"]
    for package in (*onnx_comes_first, *NEEDS[order.backend]):
        installed(package)
    for folder in folders:
        load_network(folder)

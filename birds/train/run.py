"""Trains one run, from its spec to its record. `run` shows the whole process; read it first."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.core.files import remember_files
from birds.core.machine import resolve
from birds.core.record import Record, make_record
from birds.core.spec import RunSpec, Runtime
from birds.core.stopwatch import Stopwatch
from birds.core.store import FULL, Orphaned, RunFolder, Stopped, disk_full
from birds.core.triage import failure_of
from birds.data.module import ImageData
from birds.data.reopen import opened
from birds.data.split import Split
from birds.methods import Job, create_method, load_method, refuse_without_unlabelled
from birds.methods.nearness import leave_far_out
from birds.train.tracking import tracker

ShouldStop = Callable[[], bool]


def run(spec: RunSpec, runtime: Runtime, should_stop: ShouldStop = lambda: False) -> Record:
    """Train this run, or return its finished record; runs that it needs are trained first.

    A killed run continues from its last epoch. Raises UserError for problems that the user can
    correct, and Stopped at the start of an epoch when `should_stop` returns true. Other errors are
    also written to `failure.txt` in the run folder.
    """
    folder = RunFolder(runtime.runs_dir, spec)
    say = voice(spec)
    if (finished := folder.record()) is not None:
        say(f"already finished: {folder.record_file}")
        return finished
    for needed in spec.needs:
        run(needed, runtime, should_stop)
    with folder.claimed(spec, waiting=lambda who: say(f"waiting: {who} works on it")):
        if (finished := folder.record()) is not None:
            return finished
        try:
            record = folder.finish(_record(spec, runtime, folder, should_stop))
            folder.checkpoint("last").unlink(missing_ok=True)  # a finished run does not need it
            return record
        except (KeyboardInterrupt, Orphaned, Stopped):  # continued later or elsewhere
            raise
        except BaseException as error:
            folder.fail(failure_of(error))
            if isinstance(error, OSError) and error.errno in FULL:
                raise UserError(disk_full(folder.path)) from None
            raise


def voice(spec: RunSpec) -> Callable[[str], None]:
    """A function that prints messages about this run to stderr."""

    def say(words: str) -> None:
        print(f"{spec.key} {spec.title}: {words}", file=sys.stderr, flush=True)

    return say


def _record(spec: RunSpec, runtime: Runtime, folder: RunFolder, should_stop: ShouldStop) -> Record:
    """Load the data, fit the method, and measure it; returns the record."""
    watch = Stopwatch()
    watch.begin("open")
    machine = resolve(runtime)
    remember_files(runtime.files)
    data, split = opened(spec, runtime, folder.accumulate)
    refuse_without_unlabelled(spec, len(data.rows["unlabelled"]))
    if machine.device.type == "cuda":
        data.keep_on(machine.device)
    watch.begin("prepare")
    log = tracker(spec, folder.tracking, runtime.tracking)
    given = tuple(_given(needed, runtime, data) for needed in spec.needs)
    say = voice(spec)
    job = Job(spec, data, given, folder, machine, runtime, say, should_stop, log, watch)
    filtered = leave_far_out(job, spec.pool.filter) if spec.pool.filter else {}
    method = create_method(job)
    measured: dict[str, Any] = filtered | method.fit(job)
    folder.report(**(folder.progress() | {"state": "testing"}))
    watch.begin("test")
    measured |= method.measure(job)
    measured |= _counts(data, split) | machine.record()
    measured |= {f"runtime.{name}": value for name, value in _columns(runtime).items()}
    measured |= _origin_of_weights(spec, runtime)
    seconds = watch.seconds()
    measured |= {f"cost_seconds_{phase}": spent for phase, spent in seconds.items()}
    measured["cost_attempt_seconds"] = sum(seconds.values())
    record = make_record(spec, split.digest, measured)
    if log:
        scalars = {k: v for k, v in measured.items() if isinstance(v, int | float | str)}
        log.summarize(scalars)
        log.finish()
    return record


def _given(spec: RunSpec, runtime: Runtime, data: ImageData) -> Any:
    """A finished run's method; if its saved files are missing or incomplete, it trains again."""
    folder = RunFolder(runtime.runs_dir, spec)
    try:
        return load_method(spec, folder, data.images.classes)
    except UserError:
        voice(spec)("its checkpoint is missing or incomplete: training again")
        folder.record_file.unlink(missing_ok=True)
        run(spec, runtime)
        return load_method(spec, folder, data.images.classes)


def _columns(runtime: Runtime) -> dict[str, Any]:
    """The runtime as columns of the record, with the source's name and options."""
    values = runtime.model_dump(mode="json")
    source = values.pop("source")
    values.pop("origins")  # this run's own are in the columns weights_*
    root = str(runtime.data_root) if runtime.data_root else None
    return values | {"source": source, "data_root": root}


def _origin_of_weights(spec: RunSpec, runtime: Runtime) -> dict[str, str]:
    """The origin of the weights that the encoder starts from, as columns `weights_*`."""
    columns: dict[str, str] = {}
    for value in spec.encoder.options.values():
        origin = runtime.origins.get(value, {}) if isinstance(value, str) else {}
        columns |= {f"weights_{name}": words for name, words in origin.items()}
    return columns


def _by_class(label: NDArray[np.int64], classes: Sequence[str]) -> list[int]:
    found: list[int] = np.bincount(label, minlength=len(classes)).tolist()
    return found


def _counts(data: ImageData, split: Split) -> dict[str, Any]:
    notes = {f"data_{name}": count for name, count in data.images.notes.counts().items()}
    by_class = {}
    for part in ("labelled", "valid", "test"):
        label = data.label[data.rows[part]]
        by_class[f"by_class_{part}"] = np.bincount(
            label, minlength=len(data.images.classes)
        ).tolist()
    return {**notes, **by_class} | {
        "images_labelled": len(split.labelled),
        "images_unlabelled": len(split.unlabelled),
        "images_pool": len(data.pool),
        "images_labelled_by_class": _by_class(data.label[split.labelled], data.images.classes),
        "images_valid": len(data.rows["valid"]),
        "images_test": len(data.rows["test"]),
        "classes": list(data.images.classes),
    }

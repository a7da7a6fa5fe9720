"""The lines printed before a start: numbers of images, the expected time, and warnings about too
few labels.

The time covers training by gradient descent. It uses the images per second of finished runs in the
same `runs_dir` on this machine. Early stopping makes it shorter.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from birds.core.machine import cores
from birds.core.record import Record
from birds.core.spec import RunSpec, Runtime, read_spec
from birds.core.store import RunFolder
from birds.data.images import UNLABELLED, Images
from birds.data.split import Split
from birds.launch.live_table import FROZEN

FEW = 5  # labels per class; with fewer, differences are mostly chance
MEANINGLESS = "smoke"  # the budget that only tests whether everything works
PIXELS_A_SECOND = (2e5, 4e6)  # a guess for one core: large and small networks
AROUND = 3.0  # seconds of a run outside training: reading, testing, saving
FITTED = 200.0  # images whose training takes about as long as fitting a head
READ = 200  # the newest records, which are read for their speed
SPREAD = (0.7, 1.4)  # range of the speed of runs with the same encoder and another method


class Counts(NamedTuple):
    """The numbers of classes and images of a run; `fewest`: labels of the smallest class."""

    classes: int
    classes_found: int
    labelled: int
    unlabelled: int
    valid: int
    test: int
    fewest: int
    asked: int | None  # data.classes


class Planned(Protocol):
    """The attributes of a planned run (`birds.launch.plan`) that are used here."""

    @property
    def spec(self) -> RunSpec: ...

    @property
    def runtime(self) -> Runtime: ...

    @property
    def slots(self) -> int | str: ...

    @property
    def slurm(self) -> dict[str, Any] | None: ...

    @property
    def counts(self) -> Counts | None: ...


class Speed(NamedTuple):
    """Measured images per second of a method with an encoder at an image size."""

    method: str
    encoder: str
    images_per_second: float


def counted(images: Images, cut: Split, pool: Images | None, asked: int | None) -> Counts:
    """The counts of a split of a data set, and of the extra unlabelled pool if there is one.

    `asked` is data.classes.
    """
    labels = images.label[cut.labelled]
    per_class = np.bincount(labels[labels != UNLABELLED], minlength=len(images.classes))
    return Counts(
        classes=len(images.classes),
        classes_found=images.classes_found,
        labelled=len(cut.labelled),
        unlabelled=len(cut.unlabelled) + (len(pool.ids) if pool else 0),
        valid=len(images.rows("valid")),
        test=len(images.rows("test")),
        fewest=int(per_class.min()),
        asked=asked,
    )


def foretold(planned: Sequence[Planned], runs: Mapping[str, RunSpec]) -> list[str]:
    """The lines to print before a start: counts for each split, the time, and warnings."""
    by_cut: dict[str, Counts] = {}
    for one in planned:
        if one.counts is not None:
            by_cut.setdefault(_cut_words(one), one.counts)
    several = len(set(by_cut.values())) > 1
    lines = []
    for words, counts in by_cut.items():
        line = _count_words(counts)
        line = f"{words}: {line}" if several else line
        lines += [] if line in lines else [line]
    lines.append(_time_words(planned, runs))
    fewest = min((counts.fewest for counts in by_cut.values()), default=FEW)
    if fewest < FEW:
        lines.append(
            f"careful: the smallest class has {fewest} label{'s' * (fewest != 1)}; with fewer than "
            f"{FEW} per class most differences between variants are chance, so run several seeds"
        )
    if any(run.budget == MEANINGLESS for run in runs.values()):
        lines.append(
            f"careful: budget={MEANINGLESS} only tests whether everything works; its results mean "
            "nothing"
        )
    return lines


def _cut_words(planned: Planned) -> str:
    spec = planned.spec
    words = f"split={spec.split}"
    if spec.labels_per_class is not None:
        words = f"data.labels_per_class={spec.labels_per_class}"
    reads = [run.pool for run in spec.lineage() if run.pool.name != "split"]
    if not reads or not reads[0].pollution:
        return words
    return f"{words} data.pollution={reads[0].pollution}"


def _count_words(counts: Counts) -> str:
    kept = f"all {counts.classes} classes kept"
    if counts.classes < counts.classes_found:
        kept = f"{counts.classes} of {counts.classes_found} classes kept"
        kept += f" (data.classes={counts.asked})" if counts.asked is not None else ""
    return (
        f"{kept}, {counts.labelled} labelled, {counts.unlabelled} unlabelled, {counts.valid} "
        f"validation, {counts.test} test images"
    )


def _time_words(planned: Sequence[Planned], runs: Mapping[str, RunSpec]) -> str:
    """The estimated time, or its range, of the runs that are not finished."""
    first = planned[0]
    runs_dir = first.runtime.runs_dir
    left = [run for run in runs.values() if RunFolder(runs_dir, run).record() is None]
    if not left:
        return "time: none, every run is finished"
    counts = _counts_of(planned)
    speeds = _measured(runs_dir.glob("*/record.json"))
    lows, highs, measured = 0.0, 0.0, True
    for run in left:
        own = counts[run.key]
        if own is None or run.training is None:
            continue
        low, high, is_measured = _seconds(run, _images_trained(run, own), speeds)
        lows, highs, measured = lows + low, highs + high, measured and is_measured
    lows += AROUND * len(left)
    highs += AROUND * len(left)
    beside = min(len(left), first.slots if isinstance(first.slots, int) else cores())
    low, high = lows / beside, highs / beside
    how = "measured on this machine" if measured else "a guess: not yet measured on this machine"
    span = _duration(high)
    if high > 1.5 * low and _duration(low) != span:
        span = f"{_duration(low)} to {span}"
    where = f"{beside} in parallel" if first.slurm is None else "estimated for one machine"
    runs_left = f"{len(left)} run{'s' * (len(left) != 1)}"
    return f"time: about {span} for {runs_left}, {where} ({how})"


def _counts_of(planned: Sequence[Planned]) -> dict[str, Counts | None]:
    return {run.key: one.counts for one in planned for run in one.spec.lineage()}


def efforts(planned: Sequence[Planned], runs: Mapping[str, RunSpec]) -> dict[str, float]:
    """The rough relative duration of each run, by key: the images that it trains on.

    Images of a frozen encoder count less. A fitted head counts as FITTED images.
    """
    counts = _counts_of(planned)
    found: dict[str, float] = {}
    for key, run in runs.items():
        own = counts.get(key)
        found[key] = FITTED
        if own is not None and run.training is not None:
            images = _images_trained(run, own) * (1.0 if run.views is None else FROZEN)
            found[key] = max(FITTED, images)
    return found


def _images_trained(run: RunSpec, counts: Counts) -> int:
    """The largest number of images, repetitions included, that a run trains on."""
    training = run.training
    assert training is not None
    images = counts.labelled if run.stage == "classify" else counts.unlabelled
    per_pass = max(1, math.ceil(images / training.batch))
    passes = math.ceil(training.min_steps / per_pass)
    steps = min(passes * per_pass, training.max_steps or passes * per_pass)
    beside = 1 + _ratio_beside(run)
    return beside * training.epochs * round(images * steps / per_pass)


def _ratio_beside(run: RunSpec) -> int:
    """How many unlabelled images a training step uses for each labelled one."""
    loss = run.method.options.get("extra_loss")
    if not isinstance(loss, Mapping) or loss.get("name") == "none":
        return 0
    options = loss.get("options")
    return int(options.get("ratio", 1)) if isinstance(options, Mapping) else 1


def _seconds(run: RunSpec, images: int, speeds: Sequence[Speed]) -> tuple[float, float, bool]:
    """The shortest and longest time of a run in seconds, and whether a similar run was measured."""
    own = _speed(run, 1.0)
    same = [one.images_per_second for one in speeds if one[:2] == own[:2]]
    if same:
        return images / max(same), images / min(same), True
    alike = [one.images_per_second for one in speeds if one.encoder == own.encoder]
    if alike:
        return SPREAD[0] * images / max(alike), SPREAD[1] * images / min(alike), True
    pixels = images * run.image.size**2
    return pixels / PIXELS_A_SECOND[1], pixels / PIXELS_A_SECOND[0], False


def _measured(files: Iterable[Any]) -> list[Speed]:
    """The speeds of the newest finished runs on this machine."""
    newest = sorted(files, key=lambda file: -file.stat().st_mtime)[:READ]
    speeds = []
    for file in newest:
        try:
            record = Record.model_validate_json(file.read_text()).model_dump()
            rate = float(record.get("cost_images_per_second") or 0)
            if rate > 0 and record.get("host") == platform.node():
                spec_file = RunFolder(file.parent.parent, file.parent.name).spec_file
                speeds.append(_speed(read_spec(spec_file.read_text()), rate))
        except (OSError, ValueError, KeyError):
            continue
    return speeds


def _speed(run: RunSpec, rate: float) -> Speed:
    method = run.method.model_dump_json()
    encoder = f"{run.stage} {run.encoder.model_dump_json()} {run.image.model_dump_json()}"
    return Speed(method, encoder, rate)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"

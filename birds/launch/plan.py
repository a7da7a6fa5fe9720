"""Plans runs from composed configurations and rejects every invalid choice before a run starts.

This module does not import torch, so a finished sweep that was planned before answers fast (see
`birds.launch.memo`).
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from birds.core.asked import AskedPool, asked_pool, asked_split, asked_test
from birds.core.files import fetch_files, forbids_commerce, known_files, known_origins
from birds.core.home import birds_on
from birds.core.parts import chosen_part
from birds.core.spec import Choices, RunSpec, Runtime, UserError
from birds.core.store import RunFolder
from birds.core.sweep import titles, with_needs
from birds.core.wrong_values import complaint
from birds.data.deal import read_images
from birds.data.images import Images
from birds.data.prepare import READER, create_source, cut_as_asked, find_pool, pool_images
from birds.launch.foretold import Counts, counted
from birds.launch.memo import memo_in

C = TypeVar("C", bound=Choices)
HOW = ("device", "threads", "features", "encode", "compile", "robustness_images")


class Launch(Choices):
    """How a sweep is launched.

    canary: hold the other runs if the first run to end failed with a bug; auto means on SLURM.
    until: the precision at which no more seeds are added (`birds.launch.looks`).
    """

    wait: bool
    canary: bool | Literal["auto"]
    fail_fast: bool
    until: str | None = None
    exclude: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Planned:
    """A requested run: its spec, where it runs, and how it is launched."""

    spec: RunSpec
    runtime: Runtime
    slots: int | str
    dry_run: bool
    sweep: str
    launch: Launch
    slurm: dict[str, Any] | None
    average_over: tuple[int, ...]
    notes: tuple[str, ...] = ()  # images that the reader left out, merged or scaled
    licences: tuple[str, ...] = ()  # lines on weights whose licence forbids commercial use
    counts: Counts | None = None

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.runtime.runs_dir, self.spec)


def plan_run(config: DictConfig) -> Planned:
    """The planned run of a composed configuration. Raises UserError with the cure."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    memo = memo_in(Path(str(values["cache_dir"])).expanduser().resolve())
    draft = memo.draft(values, _compose)  # rejects invalid choices before images are read
    _refuse_odd_runtime(values)
    if not values["dry_run"]:
        fetch_files()
    launch, runtime = _valid(Launch, "launch.", values["launch"]), _runtime(values)
    _refuse_unwritable(runtime.runs_dir, "runs_dir")
    _refuse_unwritable(runtime.cache_dir, "cache_dir")
    data = _about_images(values["data"])
    images = _images(data, runtime.pool_root, runtime.cache_dir)
    split = _split(values, draft.values, images)
    pool = _pool(asked_pool(values), split, draft.values["labels_per_class"], data, runtime)
    memo.keep(draft)
    classes, extra = len(images.classes), pool.digest if pool else ""
    spec = draft.spec(images.digest, extra, classes, split=split)
    cut = cut_as_asked(spec, images)
    if not len(cut.unlabelled) and not pool:
        from birds.methods import refuse_without_unlabelled  # it imports torch

        refuse_without_unlabelled(spec, 0)
    for run in spec.lineage():
        RunFolder(runtime.runs_dir, run).record()  # refuses one of another recipe
    seeds = tuple(values["search"]["seeds"] or ())
    return Planned(
        spec,
        runtime,
        values["slots"],
        values["dry_run"],
        str(values["sweep"]),
        launch,
        values.get("slurm"),
        seeds,
        notes=(*images.notes.lines(), *(pool.notes.lines() if pool else ())),
        licences=_licence_lines(runtime),
        counts=counted(images, cut, pool, values["data"]["classes"]),
    )


def _compose(values: Mapping[str, Any], data_digest: str, pool_digest: str) -> RunSpec:
    """The run of a configuration without a memo; this imports its parts, and torch."""
    from birds.launch.chosen import spec_from_config

    return spec_from_config(values, data_digest, pool_digest)


def _refuse_odd_runtime(values: Mapping[str, Any]) -> None:
    """Reject values that would fail only when a run starts, or would be misread."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", str(values["device"])):
        raise UserError(
            f"device={values['device']} is not supported; choose auto, cpu, mps, cuda or cuda:N"
        )
    for name, meaning in (
        ("slots", "the number of parallel runs"),
        ("threads", "the number of threads of a run"),
    ):
        if values[name] != "auto" and (type(values[name]) is not int or values[name] < 1):
            raise UserError(f"{name}={values[name]}: choose auto or {meaning}, 1 or more")
    if not re.fullmatch(r"[^/\0]*[^/\0.][^/\0]*", str(values["sweep"])):
        raise UserError(f"sweep={values['sweep']}: the name of a sweep must not be empty or a path")
    switches = {
        "dry_run": values["dry_run"],
        "data.skip_unreadable": values["data"].get("skip_unreadable", False),
    }
    for name, switch in switches.items():
        if not isinstance(switch, bool):
            raise UserError(f"{name}={switch}: choose true or false")


def _runtime(values: Mapping[str, Any]) -> Runtime:
    chosen = {name: values[name] for name in HOW}
    chosen |= {
        "runs_dir": Path(str(values["runs_dir"])).expanduser().resolve(),
        "cache_dir": Path(str(values["cache_dir"])).expanduser().resolve(),
        "source": chosen_part("source", values["data"]["source"], place="data.source"),
        "files": known_files(),
        "origins": known_origins(),
        "pool_root": find_pool(asked_pool(values).name),
        **_reader(values["data"]),
        "tracking": values["tracking"]["mode"],
        "precision": str(values["precision"]),
    }
    return _valid(Runtime, "", chosen)


def _reader(data: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the image reader that the data set's YAML sets."""
    return {name: data[name] for name in READER if name in data}


def _valid(model: type[C], prefix: str, values: Mapping[str, Any]) -> C:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(complaint(error, model, prefix)) from None


def _refuse_unwritable(folder: Path, key: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write in {folder}: {error.strerror}; choose another with {key}=FOLDER"
        ) from None


def _about_images(data: Mapping[str, Any]) -> str:
    """The choices that decide which images are read, as JSON, without those of extra unlabelled
    images.
    """
    beside = ("unlabelled", "unlabelled_filter", "pollution", "labels_per_class")
    return json.dumps({k: v for k, v in data.items() if k not in beside}, sort_keys=True)


@lru_cache(maxsize=8)
def _images(data: str, apart: Path | None, cache_dir: Path) -> Images:
    values = json.loads(data)
    source = create_source(chosen_part("source", values["source"], place="data.source"), apart)
    chosen = {name: values[name] for name in ("classes", "seed")}
    chosen["test"] = asked_test(values)
    return read_images(source, cache_dir, **chosen, **_reader(values))


def _split(values: Mapping[str, Any], draft: Mapping[str, Any], images: Images) -> int:
    """The requested split; the default is 0 if the data set has unlabelled images of its own."""
    if draft["labels_per_class"] is not None:
        return int(draft["split"])
    return int(asked_split(values, unlabelled=len(images.unlabelled_rows()) > 0))


def _pool(
    asked: AskedPool, split: int, per_class: int | None, data: str, runtime: Runtime
) -> Images | None:
    if asked.name == "split":
        return None
    cut = (split, per_class) if asked.pollution else (0, None)
    return _read_pool(asked, *cut, data, runtime.pool_root, runtime.cache_dir)


@lru_cache(maxsize=16)
def _read_pool(
    asked: AskedPool,
    split: int,
    labels_per_class: int | None,
    data: str,
    apart: Path | None,
    cache_dir: Path,
) -> Images | None:
    """The pool for a split; the size of the split decides how many images pollute the pool."""
    values = json.loads(data)
    return pool_images(
        asked,
        _images(data, apart, cache_dir),
        cache_dir,
        split=split,
        labels_per_class=labels_per_class,
        seed=values["seed"],
        skip_unreadable=values.get("skip_unreadable", False),
    )


def told_before(planned: Sequence[Planned]) -> list[str]:
    """Notes on images that were left out, merged or scaled, and on weights that must not be used
    commercially; each line once.
    """
    lines = [f"images: {line}" for run in planned for line in run.notes]
    lines += [f"weights: {line}" for run in planned for line in run.licences]
    return list(dict.fromkeys(lines))


def _licence_lines(runtime: Runtime) -> tuple[str, ...]:
    """A line for each file of weights whose licence forbids commercial use."""
    lines = []
    for origin in runtime.origins.values():
        licence = origin.get("licence", "")
        if forbids_commerce(licence):
            lines.append(f"the licence of {origin['origin']}, {licence}, forbids commercial use")
    return tuple(lines)


def how_tracked(runtime: Runtime) -> str | None:
    """A sentence on how W&B is used; None when it is off."""
    offline = f"W&B is offline; send it later with: {birds_on(runtime.runs_dir)} wandb sync"
    return {"offline": offline, "online": "W&B is online", "none": None}[runtime.tracking]


def describe(planned: Sequence[Planned]) -> str:
    """One line for each run: key, state, stage, title, and the runs that it waits for."""
    lines, runs = [], with_needs([p.spec for p in planned])
    for (key, spec), title in zip(runs.items(), titles(runs).values(), strict=True):
        finished = RunFolder(planned[0].runtime.runs_dir, spec).record() is not None
        needed = " ".join(run.key for run in spec.needs)
        waits = "" if finished or not needed else f"  after {needed}"
        lines.append(
            f"{key}  {'finished' if finished else 'to do':8}  {spec.stage:8}  {title}{waits}"
        )
    return "\n".join(lines)

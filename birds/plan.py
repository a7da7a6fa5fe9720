"""From composed configurations to runs that may start: everything that can be refused is refused here, before any does.

No torch: a sweep whose runs are all finished says so without importing it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from birds.data.photos import Photos, read_photos
from birds.data.prepare import ensure_rendered, find_root
from birds.data.split import draw_split
from birds.spec import ClassifySpec, Refused, RunSpec, Runtime, spec_from_config
from birds.store import RunFolder


@dataclasses.dataclass(frozen=True)
class Planned:
    """A run that was asked for: what it is, where it runs, and how it is launched."""

    spec: ClassifySpec
    runtime: Runtime
    slots: int | str
    dry_run: bool
    sweep: str

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.runtime.runs_dir, self.spec)


def plan_run(config: DictConfig) -> Planned:
    """The run a composed configuration asks for. Raises Refused, with the cure, when it cannot be done."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    runs_dir = Path(values["runs_dir"]).expanduser().resolve()
    cache_dir = Path(values["cache_dir"]).expanduser().resolve()
    _refuse_unwritable(runs_dir)
    _refuse_unwritable(cache_dir)
    spec_from_config(values, "unknown")  # nonsense dies before photos are read
    photos = _photos(json.dumps(values["data"], sort_keys=True), cache_dir)
    spec = spec_from_config(values, photos.digest)
    rows = photos.rows("train")
    draw_split(rows, photos.label[rows], split=spec.split, seed=spec.seed, species=photos.species)
    runtime = _runtime(values, runs_dir, cache_dir)
    return Planned(spec, runtime, _slots(values["slots"]), bool(values["dry_run"]), str(values["sweep"]))


def _slots(slots: int | str) -> int | str:
    if slots != "auto" and (not isinstance(slots, int) or slots < 1):
        raise Refused(f"slots={slots}: choose auto or how many runs go side by side, 1 or more")
    return slots


def _runtime(values: Mapping[str, Any], runs_dir: Path, cache_dir: Path) -> Runtime:
    try:
        return Runtime(
            runs_dir=runs_dir,
            cache_dir=cache_dir,
            data_root=find_root(values["data"]),
            skip_unreadable=values["data"]["skip_unreadable"],
            tracking=values["tracking"]["mode"],
            **{name: values[name] for name in ("device", "threads", "features")},
            precision=str(values["precision"]),  # type: ignore[arg-type]
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(f"{first['loc'][0]}={first['input']}: {first['msg'][0].lower() + first['msg'][1:]}") from None


def _refuse_unwritable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"cannot write in {folder}: {error.strerror}; choose another with runs_dir=FOLDER") from None


@lru_cache(maxsize=8)
def _photos(data: str, cache_dir: Path) -> Photos:
    values = json.loads(data)
    root = find_root(values)
    ensure_rendered(values)
    return read_photos(
        root,
        cache_dir,
        species=values["species"],
        move_to_test=values["move_to_test"],
        seed=values["seed"],
        skip_unreadable=values["skip_unreadable"],
    )


def stages(planned: Sequence[Planned]) -> dict[str, RunSpec]:
    """The distinct runs by key, what is needed before what needs it."""
    needed = {p.spec.needs.key: p.spec.needs for p in planned if p.spec.needs is not None}
    return {**needed, **{p.spec.key: p.spec for p in planned}}


def describe(planned: Sequence[Planned]) -> str:
    """A line per run: key, state, what it is, what it waits for."""
    lines = []
    for key, spec in stages(planned).items():
        finished = RunFolder(planned[0].runtime.runs_dir, spec).record() is not None
        waits = "" if spec.needs is None or finished else f"  after {spec.needs.key}"
        lines.append(f"{key}  {'finished' if finished else 'to do':8}  {spec.stage:8}  {spec.title}{waits}")
    return "\n".join(lines)

"""What a sweep asked for, remembered under its name: `runs/sweeps/<name>/sweep.json`.

It holds all that is needed to look after the sweep later without composing it again: the runs,
where they run, and how they were launched. What each run is stands in its own folder (`spec.json`).
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from birds.core.errors import dotted, nearest
from birds.core.spec import RunSpec, Runtime, UserError, read_spec
from birds.core.store import RunFolder, write_text


class Asked(BaseModel, frozen=True):
    """One classifier run of a sweep, and the overrides that asked for it."""

    key: str
    overrides: tuple[str, ...] = ()


class Sweep(BaseModel, frozen=True):
    """A sweep. `slurm` is the profile it was submitted with, None for one on a single machine."""

    name: str = "last"
    runs: tuple[Asked, ...]
    runtime: Runtime | None = None
    time: float = Field(default_factory=time.time)
    slots: int | str = "auto"
    slurm: dict[str, Any] | None = None
    canary: bool = False
    fail_fast: bool = False

    def save(self, runs_dir: Path, *, beside_older: bool) -> None:
        """Write it down; `beside_older` keeps the runs that it held before (a search asks in
        several rounds).
        """
        file, runs = sweep_file(runs_dir, self.name), self.runs
        if beside_older and (older := _read(file)) is not None:
            known = {run.key for run in runs}
            runs = (*(run for run in older.runs if run.key not in known), *runs)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, self.model_copy(update={"runs": runs}).model_dump_json(indent=1))

    def specs(self, runs_dir: Path) -> dict[str, RunSpec]:
        """The sweep's runs by key, what is needed before what needs it."""
        return with_needs(
            [read_spec(RunFolder(runs_dir, run.key).spec_file.read_text()) for run in self.runs]
        )


def with_needs(specs: Sequence[RunSpec]) -> dict[str, RunSpec]:
    """The distinct runs by key, what is needed before what needs it."""
    found: dict[str, RunSpec] = {}
    for spec in specs:
        found |= {run.key: run for run in spec.lineage()}
    by_depth = sorted(found.values(), key=lambda run: run.depth)
    asked = {spec.key: spec for spec in specs}
    return {run.key: run for run in by_depth if run.key not in asked} | asked


def titles(runs: Mapping[str, RunSpec]) -> dict[str, str]:
    """What to call each run: its title, and where several share one, the choices that tell them
    apart.
    """
    sharing: dict[str, list[str]] = {}
    for key, spec in runs.items():
        sharing.setdefault(spec.title, []).append(key)
    named = {}
    for title, keys in sharing.items():
        dumped = {key: dotted(runs[key].model_dump(mode="json")) for key in keys}
        choices = {
            key: {n: str(v) for n, v in own if not isinstance(v, dict)}
            for key, own in dumped.items()
        }
        values = Counter(
            name for name, _ in {pair for own in choices.values() for pair in own.items()}
        )
        for key, own in choices.items():
            words = (
                f"{n.removesuffix('.name').rpartition('.')[2]}={v}"
                for n, v in own.items()
                if v and values[n] > 1
            )
            named[key] = " ".join(dict.fromkeys([title, *words]))
    return {key: named[key] for key in runs}


def leave_specs(runs_dir: Path, runs: Mapping[str, RunSpec]) -> None:
    """Write each run's spec into its folder, for those that will work on it."""
    for spec in runs.values():
        folder = RunFolder(runs_dir, spec)
        if not folder.spec_file.exists():
            folder.path.mkdir(parents=True, exist_ok=True)
            write_text(folder.spec_file, spec.model_dump_json(indent=1))


def sweep_file(runs_dir: Path, name: str) -> Path:
    """Where a sweep is remembered."""
    return runs_dir / "sweeps" / name / "sweep.json"


def read_sweep(runs_dir: Path, name: str) -> Sweep:
    """The sweep of that name. Raises UserError, with the nearest name, when there is none."""
    found = _read(sweep_file(runs_dir, name))
    if found is None:
        known = sorted(path.parent.name for path in runs_dir.glob("sweeps/*/sweep.json"))
        there = f"There are: {', '.join(known)}" if known else "None was run yet: make sweep-exp1"
        raise UserError(f"no sweep {name!r} in {runs_dir}{nearest(name, known)} {there}")
    return found


def _read(file: Path) -> Sweep | None:
    try:
        return Sweep.model_validate_json(file.read_text())
    except (OSError, ValidationError):
        return None

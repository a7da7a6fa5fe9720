"""The record of a sweep under its name: `runs/sweeps/<name>/sweep.json`.

It lists the runs, where they run, and how they were launched, so that later commands need not
compose the sweep again. The spec of each run is in its own folder (`spec.json`).
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from birds.core.errors import dotted, nearest
from birds.core.locks import claimed, joined
from birds.core.spec import RunSpec, Runtime, UserError, read_spec
from birds.core.store import RunFolder, write_text

AFTER = "after"  # the pretraining that another pretraining continues
FOLLOWING = ("digest", "/part", ".part", "/views")  # choices that mostly follow from others
LAST = "last"  # the name of a sweep without a name
NEWEST = ""  # on the command line: the newest sweep
LONGEST_NAME = 100  # bytes; file names add to it, and 255 is the limit


class Asked(BaseModel, frozen=True):
    """One classifier run of a sweep, and its overrides."""

    key: str
    overrides: tuple[str, ...] = ()


class Sweep(BaseModel, frozen=True):
    """A sweep. `slurm` is the profile it was submitted with, None for one on a single machine."""

    name: str = LAST
    runs: tuple[Asked, ...]
    runtime: Runtime | None = None
    time: float = Field(default_factory=time.time)
    slots: int | str = "auto"
    slurm: dict[str, Any] | None = None
    canary: bool = False
    fail_fast: bool = False

    def save(self, runs_dir: Path, *, beside_older: bool) -> None:
        """Write the file. `beside_older` keeps the runs of an older file (a search adds runs in
        several rounds).
        """
        file, runs = sweep_file(runs_dir, self.name), self.runs
        if beside_older and (older := _read(file)) is not None:
            known = {run.key for run in runs}
            runs = (*(run for run in older.runs if run.key not in known), *runs)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, self.model_copy(update={"runs": runs}).model_dump_json(indent=1))

    @contextlib.contextmanager
    def claimed(
        self, runs_dir: Path, runs: Mapping[str, RunSpec], *, beside_older: bool
    ) -> Iterator["Sweep"]:
        """Write the sweep's file and hold its name; yields the sweep with its final name.

        A sweep without a name gets a unique one, and `last` points to the newest. Raises UserError
        if the name is not available.
        """
        refuse_long_name(self.name)
        if self.name == LAST and not beside_older:
            named = self.model_copy(update={"name": f"{LAST}-{self._digest()}"})
            yield named._written(runs_dir, runs, beside_older=False, also_as=LAST)
            return
        file = sweep_file(runs_dir, self.name)
        refuse_other_data(runs_dir, self.name, runs)
        with contextlib.ExitStack() as held:
            older = _read(file)
            if older is None or older.runs != self.runs:  # the same list may be joined
                held.enter_context(claimed(file.with_name("lock"), _held(self.name)))
            else:
                held.enter_context(joined(file.with_name("lock")))
            yield self._written(runs_dir, runs, beside_older=beside_older)

    def _written(
        self,
        runs_dir: Path,
        runs: Mapping[str, RunSpec],
        *,
        beside_older: bool,
        also_as: str | None = None,
    ) -> "Sweep":
        leave_specs(runs_dir, runs)
        self.save(runs_dir, beside_older=beside_older)
        if also_as is not None:
            pointer = sweep_file(runs_dir, also_as)
            pointer.parent.mkdir(parents=True, exist_ok=True)
            write_text(pointer, self.model_dump_json(indent=1))
        return self

    def _digest(self) -> str:
        words = [[run.key, *run.overrides] for run in self.runs]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:8]

    def shown_as(self, runs_dir: Path) -> str:
        """The name of the sweep's output files: `last` for the newest sweep without a name."""
        newest = _read(sweep_file(runs_dir, LAST))
        return LAST if newest is not None and newest.name == self.name else self.name

    def specs(self, runs_dir: Path) -> dict[str, RunSpec]:
        """The sweep's runs by key; each run comes after the runs that it needs."""
        return with_needs(
            [read_spec(RunFolder(runs_dir, run.key).spec_file.read_text()) for run in self.runs]
        )


def _held(name: str) -> str:
    return (
        f"sweep={name}: another process works on a sweep with this name and other runs; wait for "
        "it, or choose sweep=OTHER"
    )


def refuse_long_name(name: str) -> None:
    """Raise UserError if the sweep's name is too long for file names."""
    length = len(os.fsencode(name))
    if length > LONGEST_NAME:
        raise UserError(
            f"sweep={name[:20]}...: the name has {length} bytes; choose one with at most "
            f"{LONGEST_NAME}"
        )


def refuse_other_data(runs_dir: Path, name: str, runs: Mapping[str, RunSpec]) -> None:
    """Raise UserError if the name belongs to a sweep of other photos, whose files would be
    overwritten.
    """
    older = _read(sweep_file(runs_dir, name))
    if older is None:
        return
    known: dict[str, str] = {}
    for run in older.runs:
        with contextlib.suppress(OSError, ValueError):
            spec = read_spec(RunFolder(runs_dir, run.key).spec_file.read_text())
            known[spec.data.digest] = spec.data.name
    digests = {spec.data.digest for spec in runs.values()}
    if known and not digests & set(known):
        raise UserError(
            f"sweep={name} belongs to other photos (data={', '.join(sorted(set(known.values())))}, "
            f"in {runs_dir}): choose sweep=OTHER"
        )


def with_needs(specs: Sequence[RunSpec]) -> dict[str, RunSpec]:
    """The distinct runs by key; each run comes after the runs that it needs."""
    found: dict[str, RunSpec] = {}
    for spec in specs:
        found |= {run.key: run for run in spec.lineage()}
    by_depth = sorted(found.values(), key=lambda run: run.depth)
    asked = {spec.key: spec for spec in specs}
    return {run.key: run for run in by_depth if run.key not in asked} | asked


def titles(runs: Mapping[str, RunSpec]) -> dict[str, str]:
    """The title of each run. Runs with equal titles also get the choices in which they differ,
    including choices of the runs that they need.
    """
    sharing: dict[str, dict[str, dict[str, str]]] = {}
    for key, spec in runs.items():
        sharing.setdefault(spec.title, {})[key] = _choices(spec)
    named: dict[str, str] = {}
    for title, choices in sharing.items():
        swept = _swept(list(choices.values()))
        told = {place for place in swept if not place.endswith(FOLLOWING)}
        words = {key: _words(own, told) for key, own in choices.items()}
        if len(set(words.values())) < len(words):
            words = {key: _words(own, swept) for key, own in choices.items()}
        for key, own_words in words.items():
            named[key] = f"{title} {own_words}".rstrip()
    return {key: named[key] for key in runs}


# Choices that a spec omits at their defaults; with them, runs with other values can be told apart.
_USUAL_POOL = {"pollution": 0, "filter": None}


def _choices(spec: RunSpec, above: str = "") -> dict[str, str]:
    """Every choice of a run and of the runs that it needs.

    A key is `/noise` for the run itself, `pretraining/noise` for the pretraining of a classifier,
    and `after/after.noise` for the pretraining that this one continues.

    Args:
        spec: the run.
        above: the first part of the keys.
    """
    values = spec.model_dump(mode="json", exclude={"needs", "stage", "variant", "split", "seed"})
    values["pool"] = _USUAL_POOL | values["pool"]
    choices = {}
    for name, value in dotted(values):
        if isinstance(value, dict):
            continue
        word = name.removesuffix(".name").rpartition(".")[2]
        if name == "method.name":
            word = above or spec.kind
        elif name.endswith("digest"):
            word = f"{name.partition('.')[0]}.digest"
        elif name.startswith("training.") and above:
            word = f"pretrain.{word}"
        if above == AFTER and word != AFTER:
            word = f"{AFTER}.{word}"
        choices[f"{above}/{word}"] = "" if value is None else str(value)
    if spec.kind == "classifier":
        choices.setdefault(f"{above}/balance", "none")
    below = AFTER if spec.stage == "pretrain" else "pretraining"
    for needed in spec.needs:
        choices |= _choices(needed, below)
    return choices


def _swept(choices: Collection[Mapping[str, str]]) -> set[str]:
    """The keys with several values. A missing earlier pretraining counts as a value, too."""
    values: dict[str, set[str]] = {}
    for own in choices:
        for place, value in own.items():
            values.setdefault(place, set()).add(value)
    several = {place for place, found in values.items() if len(found) > 1}
    method = f"{AFTER}/{AFTER}"
    if method in values and not all(method in own for own in choices):
        several.add(method)
    return several


def _words(choices: Mapping[str, str], places: Collection[str]) -> str:
    """The choices at these keys as text, `noise=0.1 skips=plain`, each once."""
    words = [
        f"{place.partition('/')[2]}={value}"
        for place, value in choices.items()
        if place in places and value
    ]
    return " ".join(dict.fromkeys(words))


def leave_specs(runs_dir: Path, runs: Mapping[str, RunSpec]) -> None:
    """Write each run's spec into its folder."""
    for spec in runs.values():
        folder = RunFolder(runs_dir, spec)
        if not folder.spec_file.exists():
            folder.path.mkdir(parents=True, exist_ok=True)
            write_text(folder.spec_file, spec.model_dump_json(indent=1))


def sweep_file(runs_dir: Path, name: str) -> Path:
    """The path of a sweep's file."""
    return runs_dir / "sweeps" / name / "sweep.json"


def newest_sweep(runs_dir: Path) -> str:
    """The name of the newest sweep; `last` if it has no name, or if there is no sweep."""
    found = []
    for file in runs_dir.glob("sweeps/*/sweep.json"):
        with contextlib.suppress(OSError):
            name = file.parent.name
            found.append((file.stat().st_mtime_ns, name == LAST, name))
    newest = max(found, default=(0, True, LAST))[2]
    pointer = _read(sweep_file(runs_dir, LAST))
    return LAST if pointer is not None and pointer.name == newest else newest


def read_sweep(runs_dir: Path, name: str) -> Sweep:
    """The sweep with this name. Raises UserError with the closest name if it does not exist."""
    found = _read(sweep_file(runs_dir, name))
    if found is None:
        known = sorted(path.parent.name for path in runs_dir.glob("sweeps/*/sweep.json"))
        if not known:
            asked = "" if name == LAST else f"no sweep {name!r}: "
            raise UserError(f"{asked}there is no sweep in {runs_dir} yet; try make sweep-exp1")
        there = f"There are: {', '.join(known)}"
        raise UserError(f"no sweep {name!r} in {runs_dir}{nearest(name, known)} {there}")
    return found


def _read(file: Path) -> Sweep | None:
    try:
        return Sweep.model_validate_json(file.read_text())
    except (OSError, ValidationError):
        return None

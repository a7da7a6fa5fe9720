"""The content of the page as plain values, read from run folders and records.

The state of a run comes from its folder alone, so that the page needs no SLURM. For everything that
cannot be shown there is a notice with the reason, and for a missing cell the command to run.
"""

import contextlib
import itertools
import json
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.answer import answer
from analysis.comparisons import FOR_PROGRAMS, compare_sweep
from analysis.dashboard.pictures import jpegs, sheet
from analysis.dashboard.study_section import study_section
from analysis.frame import BROKEN, chance, command, sweep_frame, sweep_keys
from analysis.intervals import wilson
from analysis.latency import latency_table
from analysis.reading import reading_once
from analysis.tables import sweep_table
from analysis.variants import variant
from analysis.verdicts import outcome, sentence, verdicts
from birds.core.locks import is_locked
from birds.core.spec import RunSpec, UserError, read_spec
from birds.core.store import RunFolder
from birds.core.sweep import Sweep, read_sweep, with_needs

EPOCHS = 120  # maximum of points of a curve
CLOUDS = 6  # maximum of latent spaces
FROM_RECORD = (
    "family",
    "test_accuracy",
    "test_macro_f1",
    "best_epoch",
    "cost_seconds",
    "device_name",
)
UNREADABLE = "run {} has no readable spec.json in its folder and is not shown; run the sweep again"
FROM_PROGRESS = ("epoch", "epochs", "seconds_left")
Values = dict[str, Any]


@reading_once()
def content(runs_dir: Path, name: str) -> Values:
    """The content of a sweep's page, ready for JSON. Raises UserError if there is no such sweep."""
    sweep = read_sweep(runs_dir, name)
    known = specs(runs_dir, sweep)
    runs = list(_runs(runs_dir, known))
    shown: Values = {
        "sweep": name,
        "written": time.strftime("%Y-%m-%d %H:%M:%S"),
        "live": False,
        "runs": runs,
        "again": command(runs_dir, name) if runs else "",
    }
    notices = {UNREADABLE.format(run.key): None for run in sweep.runs if run.key not in known}
    sections, refusals = _sections(runs_dir, name)
    shown |= sections
    notices |= refusals
    shown["curves"] = {
        run["key"]: found for run in runs if (found := _curves(RunFolder(runs_dir, run["key"])))
    }
    shown["pictures"] = _pictures(runs_dir, runs)
    shown["clouds"], shown["sheets"] = _clouds(runs_dir, runs)
    variants = {name for run in runs for name in run["variants"]}
    shown["titles"] = {name: variant(name).titled() for name in sorted(variants)}
    shown["names"] = {name: variant(name).named() for name in sorted(variants)}
    shown["chance"] = _chance(runs_dir, name)
    names = variants | {run["what"] for run in runs}
    shown["looks"] = {name: variant(name).look._asdict() for name in sorted(names)}
    return shown | {"notices": list(notices)}


def _sections(runs_dir: Path, name: str) -> tuple[Values, dict[str, None]]:
    """The sections that come from records, and notices on sections that cannot be shown."""
    shown: Values = {}
    notices: dict[str, None] = {}
    for section, read in SECTIONS.items():
        shown[section] = []
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                shown[section] = read(runs_dir, name)
            except UserError as refusal:
                notices[str(refusal)] = None
        notices |= dict.fromkeys(str(warning.message) for warning in warned)
    return shown, notices


def specs(runs_dir: Path, sweep: Sweep) -> dict[str, RunSpec]:
    """The sweep's runs by key, needed runs first, without runs that have no readable spec."""
    found = []
    for run in sweep.runs:
        with contextlib.suppress(OSError, ValueError):
            found.append(read_spec(RunFolder(runs_dir, run.key).spec_file.read_text()))
    return with_needs(found)


def _runs(runs_dir: Path, known: Mapping[str, RunSpec]) -> Iterator[Values]:
    """One row per run: its description, the variants that need it, its state, and its results when
    it is finished.
    """
    stand_on: dict[str, dict[str, None]] = {}
    for spec in known.values():
        for needed in spec.lineage() if spec.stage == "classify" else ():
            stand_on.setdefault(needed.key, {})[spec.variant] = None
    for key, spec in known.items():
        folder = RunFolder(runs_dir, key)
        state, why = _state(folder)
        record = folder.record() if state == "finished" else None
        row: Values = (
            {name: record.model_dump().get(name) for name in FROM_RECORD} if record else {}
        )
        if state in ("running", "waiting"):
            row |= {
                name: value for name, value in folder.progress().items() if name in FROM_PROGRESS
            }
        row |= {"key": key, "title": spec.title, "stage": spec.stage, "state": state, "why": why}
        row |= {
            "split": spec.split,
            "seed": spec.seed,
            "data": f"{spec.data.name} {spec.data.digest[:6]}",
        }
        row["what"] = spec.variant
        row["variants"] = list(stand_on.get(key, ()))
        yield row


def _state(folder: RunFolder) -> tuple[str, str]:
    """The state (finished, running, failed or waiting) and its reason."""
    try:
        if folder.record() is not None:
            return "finished", ""
    except UserError as refusal:
        return "failed", str(refusal)
    if is_locked(folder.lock_file):
        return "running", ""
    if (failure := folder.failure()) is not None:
        return "failed", "; ".join(failure.splitlines()[:2])
    if folder.record_file.exists():
        return "waiting", "its record is incomplete"
    return "waiting", "its process is gone" if folder.attempt_file.exists() else "not started"


def _sources(runs_dir: Path, name: str) -> Any:
    """The recipes, code versions and data of the records."""
    frame, _ = sweep_frame(runs_dir, name)
    found = [column for column in ("recipe", "git_sha", "data_digest") if column in frame]
    return [
        f"{column.replace('_', ' ')} {', '.join(map(str, frame[column].unique()))}"
        for column in found
    ]


def _cells(runs_dir: Path, name: str) -> Any:
    table, _ = sweep_table(runs_dir, name)
    if said := table.attrs["meaningless"]:
        warnings.warn(said, stacklevel=2)  # every warning becomes a notice of the page
    return _plain(table)


def _comparisons(runs_dir: Path, name: str) -> Any:
    table = compare_sweep(runs_dir, name)
    said = []
    for one in verdicts(table):
        said.append(
            {"word": one.word, "outcome": _capital(outcome(one)), "sentence": sentence(one)}
        )
    shown = _plain(table.drop(columns=list(FOR_PROGRAMS), errors="ignore"))
    return [row | words for row, words in zip(shown, said, strict=True)]


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _answer(runs_dir: Path, name: str) -> Any:
    """The answer so far."""
    table, missing = sweep_table(runs_dir, name)
    return answer(runs_dir, name, table, missing)


def _chance(runs_dir: Path, name: str) -> float | None:
    with contextlib.suppress(UserError):
        return chance(sweep_frame(runs_dir, name)[0])
    return None


def _latency(runs_dir: Path, name: str) -> Any:
    table = latency_table(runs_dir)
    own = table[table["key"].isin(sweep_keys(runs_dir, name)) & table["test_accuracy"].notna()]
    if own.empty:
        raise UserError(f"no latency was measured for {name} yet; run birds latency {name}")
    low, high = zip(*map(wilson, own["test_accuracy"], own["images_test"].astype(int)), strict=True)
    return _plain(own.assign(low=low, high=high))


SECTIONS = {
    "records": _sources,
    "answer": _answer,
    "cells": _cells,
    "comparisons": _comparisons,
    "latency": _latency,
    "study": study_section,
}


def _curves(folder: RunFolder) -> Values | None:
    """The columns of a run's curves, thinned out if long; None if there are none."""
    try:
        curves = pd.read_csv(folder.curves_file)
    except (OSError, ValueError):
        return None
    numbers = curves.select_dtypes("number").drop(
        columns=["step", "lr", "seconds"], errors="ignore"
    )
    thinned = numbers.iloc[:: -(-len(numbers) // EPOCHS) or 1]
    return {
        name: json.loads(column.to_json(orient="values", double_precision=4))
        for name, column in thinned.items()
    }


def _pictures(runs_dir: Path, runs: list[Values]) -> list[Values]:
    """The pictures of runs, first seeds first, as many as fit."""
    found = {
        file: run
        for run in runs
        for file in sorted(RunFolder(runs_dir, run["key"]).pictures.glob("*.png"))
    }
    order = sorted(
        found, key=lambda file: (found[file]["seed"], found[file]["what"], found[file]["split"])
    )
    return [
        {"key": found[file]["key"], "name": file.stem, "src": url}
        for file, url in jpegs(order).items()
    ]


def _clouds(runs_dir: Path, runs: list[Values]) -> tuple[list[Values], Values]:
    """Two-dimensional latent spaces, and one sheet of thumbnails for each folder of images."""
    order = sorted(runs, key=lambda run: (run["seed"], run["what"], run["split"]))
    found = (_cloud(RunFolder(runs_dir, run["key"])) for run in order)
    clouds = list(itertools.islice(filter(None, found), CLOUDS))
    numbers: dict[str, dict[str, int]] = {}
    for cloud in clouds:
        known = numbers.setdefault(cloud["sheet"], {})
        cloud["image"] = [known.setdefault(image, len(known)) for image in cloud["image"]]
    return clouds, {
        root: sheet(Path(root), tuple(known), _copies(runs_dir, clouds, root))
        for root, known in numbers.items()
        if known
    }


def _copies(runs_dir: Path, clouds: list[Values], root: str) -> tuple[Path, ...]:
    """The files with small copies of the images below `root`, from these latent spaces."""
    found = []
    for cloud in clouds:
        file = RunFolder(runs_dir, cloud["key"]).latent / "thumbnails.npz"
        if cloud["sheet"] == root and file.exists():
            found.append(file)
    return tuple(found)


def _cloud(folder: RunFolder) -> Values | None:
    """A run's latent space, with its images as paths below `sheet`; None if not explored."""
    try:
        values = json.loads(folder.record_file.read_text())
        classes, root = values["classes"], values["runtime.data_root"] or ""
        with np.load(folder.latent / "latent.npz", allow_pickle=False) as saved:
            lists = {name: saved[name].tolist() for name in ("label", "cluster", "image")}
            x, y = saved["tsne"].round(2).T.tolist()
    except BROKEN:
        return None
    return lists | {"key": folder.key, "x": x, "y": y, "classes": classes, "sheet": root}


def _plain(frame: pd.DataFrame) -> Any:
    """The rows as plain values; unknown values are None."""
    return json.loads(frame.to_json(orient="records", double_precision=6))

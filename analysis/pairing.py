"""Finds the runs of a sweep to compare with each other, on equal images, splits and seeds.

A variant's YAML names its opponents (`analysis.variants`), usually A. The first choice is an A with
the same choices. Otherwise it is the most similar A with the same images, split and seed, from
another cell or another sweep, if possible with the same encoder and image size. A row then names
the choices of that A that differ.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.frame import ASKED, asked_runs, noisy_hits, predictions, refuse_mixed, short
from analysis.intervals import balancing_weights
from analysis.reading import once
from analysis.variants import REFERENCE, variant
from birds.core.errors import dotted
from birds.core.record import load_records
from birds.core.spec import RunSpec, UserError, read_spec
from birds.core.store import RunFolder

Right = Callable[[str], pd.DataFrame | None]
IMAGE = ("encoder.name", "image.size", "image.channels")  # choices for reading images


class Pair(NamedTuple):
    """The results of two variants on equal images: `correct` is (2, S, N), first the variant's,
    then the opponent's, with 1 for a correct answer.

    Under noise, the values are shares of the `levels` of noise. `other` lists the choices of the
    opponent that differ; empty if all are equal. `pretrained`: whether the variant needs a
    pretraining. `keys` are the keys of the compared runs.
    """

    about: dict[str, Any]
    seeds: tuple[int, ...]
    correct: statistics.Floats
    missing: tuple[str, ...]
    levels: int = 1
    other: str = ""
    pretrained: bool = False
    keys: tuple[str, ...] = ()

    @property
    def is_crossed(self) -> bool:
        """Whether there are enough seeds and images for an interval over both."""
        return bool(min(self.correct.shape[1:]) > 1)


class Sides(NamedTuple):
    """The runs of a comparison, rows of `asked_runs`: those of the variant and those of its
    opponent, and the choices of the opponent that differ.
    """

    mine: pd.DataFrame
    theirs: pd.DataFrame
    other: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all of them."""
        return (*self.mine["key"], *self.theirs["key"])


@once
def pairs(runs_dir: Path, sweep: str, *, noisy: bool = False, balanced: bool = False) -> list[Pair]:
    """Every comparison of a sweep that the variants' YAMLs define, with all other choices equal.

    Missing or unfinished runs reduce the seeds of a comparison, perhaps to none. Raises UserError
    if the sweep does not exist, or if a comparison mixes recipes, images or precisions.
    """
    asked = asked_runs(runs_dir, sweep)
    records = load_records(runs_dir, list(asked["key"].unique()))
    elsewhere = cache(partial(_references_elsewhere, runs_dir))
    right = cache(partial(_right, runs_dir, noisy=noisy, balanced=balanced))
    choices = ["split", *list(asked.columns)[len(ASKED) :]]
    found: dict[tuple[str, ...], Pair] = {}
    for values, cell in asked.groupby(choices, sort=False):
        about = dict(zip(choices, values, strict=True))
        for name, against in _opponents(cell, alone=set(asked["variant"]) == {REFERENCE}):
            sides = _sides(asked, cell, name, against)
            if sides is not None and sides.theirs.empty and against == REFERENCE:
                sides = _from_elsewhere(sides.mine, records, elsewhere())
            if sides is None or sides.keys in found:
                continue
            if len(records):
                refuse_mixed(records[records["key"].isin(sides.keys)])
            row = about | {"variant": name, "against": against}
            found[sides.keys] = _pair(row, sides, right)
    return list(found.values())


def _opponents(cell: pd.DataFrame, *, alone: bool) -> Iterator[tuple[str, str]]:
    """The opponents of each variant of a cell: A first, even if it is not in the sweep.

    If A is `alone` in a sweep, its cells are compared with the first cell.
    """
    there = list(dict.fromkeys(cell["variant"]))
    further = []
    for name in there:
        for other in variant(name).against:
            if other.variant == REFERENCE:
                yield name, REFERENCE
            elif other.variant in there:
                further.append((name, other.variant))
    if alone:
        yield REFERENCE, REFERENCE
    yield from reversed(further)


def _sides(asked: pd.DataFrame, cell: pd.DataFrame, name: str, against: str) -> Sides | None:
    """The runs of a comparison within this sweep; None if a cell would be compared with itself."""
    mine = cell[cell["variant"] == name]
    if name != against and against in set(cell["variant"]):
        return Sides(mine, cell[cell["variant"] == against])
    first: RunSpec = mine["spec"].iloc[0]
    candidates = asked[asked["variant"] == against]
    equal = np.array([_on_equal_images(spec, first) for spec in candidates["spec"]], bool)
    candidates = candidates[equal].drop_duplicates("key")
    families = candidates["spec"].map(lambda spec: spec.family)
    if candidates.empty:
        return Sides(mine, candidates)
    chosen = families.iloc[0] if name == against else _most_alike(candidates, families, mine)
    if chosen == first.family:
        return None
    theirs = candidates[(families == chosen) & candidates["seed"].isin(mine["seed"])]
    return Sides(mine, theirs, _other_words(mine.iloc[0], candidates[families == chosen].iloc[0]))


def _on_equal_images(one: RunSpec, two: RunSpec) -> bool:
    """Whether two runs have the same images and, for equal seeds, the same split."""
    choices = ("split", "labels_per_class")
    same_cut = all(getattr(one, name) == getattr(two, name) for name in choices)
    return same_cut and one.data.digest == two.data.digest


def _most_alike(candidates: pd.DataFrame, families: pd.Series, mine: pd.DataFrame) -> str:
    """The most similar family of candidates: one with the same encoder and images if possible, then
    most common seeds, then most equal choices.
    """
    first: RunSpec = mine["spec"].iloc[0]
    own = dict(dotted(first.model_dump(mode="json")))
    likeness: dict[str, tuple[bool, int, int]] = {}
    for family, rows in candidates.groupby(families, sort=False):
        spec = rows["spec"].iloc[0]
        theirs = dict(dotted(spec.model_dump(mode="json")))
        alike = spec.encoder == first.encoder and spec.image == first.image
        seeds = len(set(rows["seed"]) & set(mine["seed"]))
        equal = sum(theirs.get(name) == value for name, value in own.items())
        likeness[str(family)] = (alike, seeds, equal)
    return max(likeness, key=likeness.__getitem__)


def _other_words(mine: pd.Series, theirs: pd.Series) -> str:
    """The swept choices of the second row of `asked_runs` that differ from the first."""
    names = [name for name in mine.index if name not in ASKED and mine[name] != theirs[name]]
    return " ".join(f"{short(name)}={theirs[name]}" for name in names if theirs[name])


def _references_elsewhere(runs_dir: Path) -> pd.DataFrame:
    """The finished runs of A under `runs_dir`, of any sweep."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # runs of other recipes do not matter here
        records = load_records(runs_dir)
    rows = []
    for record in records.to_dict("records"):
        if record["stage"] == "classify" and record["variant"] == REFERENCE:
            spec = read_spec(RunFolder(runs_dir, record["key"]).spec_file.read_text())
            rows.append(record | {"spec": spec})
    columns = [*ASKED, "split_digest", "precision"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _from_elsewhere(mine: pd.DataFrame, records: pd.DataFrame, found: pd.DataFrame) -> Sides:
    """A comparison with an A of another sweep with the same splits, budget and precision; without
    an opponent if there is none.
    """
    own = records[records["key"].isin(mine["key"])] if len(records) else records
    first: RunSpec = mine["spec"].iloc[0]
    candidates = found
    if own.empty or found.empty:
        return Sides(mine, found[:0])
    precision = own["precision"].iloc[0] if "precision" in own else np.nan
    same_precision = [one == precision or pd.isna(precision) for one in found["precision"]]
    same_budget = [spec.budget == first.budget for spec in found["spec"]]
    same_images = [_on_equal_images(spec, first) for spec in found["spec"]]
    same_cut = found["split_digest"].isin(own["split_digest"]) & found["seed"].isin(mine["seed"])
    candidates = found[same_cut & np.all([same_precision, same_budget, same_images], axis=0)]
    if candidates.empty:
        return Sides(mine, candidates)
    families = candidates["spec"].map(lambda spec: spec.family)
    theirs = candidates[families == _most_alike(candidates, families, mine)]
    return Sides(mine, theirs, _image_words(first, theirs["spec"].iloc[0]))


def _image_words(mine: RunSpec, theirs: RunSpec) -> str:
    """The choices for reading images that another run has and that differ."""
    own = dict(dotted(mine.model_dump(mode="json")))
    other = dict(dotted(theirs.model_dump(mode="json")))
    names = [name for name in IMAGE if own[name] != other[name]]
    return " ".join(f"{name.removesuffix('.name')}={other[name]}" for name in names)


def _right(runs_dir: Path, key: str, *, noisy: bool, balanced: bool = False) -> pd.DataFrame | None:
    """Whether a run is correct on each test image, or, if noisy, at each noise level of it.

    With `balanced`, a correct answer is weighted by the inverse of the class's number of images.
    Returns None if it is missing or was not measured.
    """
    record = _record(runs_dir, key)
    if noisy:
        return None if record is None else _right_under_noise(runs_dir, key, record)
    saved = predictions(runs_dir, key, "test_image", "test_logits", "test_label")
    if record is None or saved is None:
        return None
    right = saved[1].argmax(1) == saved[2]
    counted = right * balancing_weights(saved[2]) if balanced else right.astype(float)
    return pd.DataFrame(counted, index=saved[0])


def _right_under_noise(runs_dir: Path, key: str, record: Mapping[str, Any]) -> pd.DataFrame | None:
    hits = noisy_hits(runs_dir, key)
    if hits is None or hits[1].shape[1] < 2:
        return None
    frame = pd.DataFrame(hits[1][:, 1:].astype(float), index=hits[0])
    if "test_noise" in record:
        frame.columns = pd.Index(record["test_noise"][1:])
    return frame


def _record(runs_dir: Path, key: str) -> Mapping[str, Any] | None:
    """The columns of a run's record besides those of every record; None if it is not finished, or
    if its record is of another recipe.
    """
    try:
        record = RunFolder(runs_dir, key).record()
    except UserError:
        return None
    return None if record is None else record.model_extra


def _in_all(frames: list[pd.DataFrame]) -> list[Any]:
    """The columns (noise levels) that all of these frames have."""
    if not frames:
        return []
    return sorted(set(frames[0]).intersection(*frames[1:]))


def _pair(about: dict[str, Any], sides: Sides, right: Right) -> Pair:
    runs: dict[tuple[int, int], pd.DataFrame] = {}
    keys: dict[tuple[int, int], str] = {}
    for side, rows in enumerate((sides.mine, sides.theirs)):
        for row in rows.itertuples():
            measured = right(row.key)
            if measured is not None:
                runs[side, row.seed] = measured
                keys[side, row.seed] = row.key
    against = f"{about['against']} ({sides.other})" if sides.other else about["against"]
    missing, seeds = [], []
    for seed in sorted({*sides.mine["seed"], *sides.theirs["seed"]}):
        lacking = [n for k, n in enumerate((about["variant"], against)) if (k, seed) not in runs]
        missing += [f"{name} seed {seed}" for name in lacking]
        seeds += [] if lacking else [seed]
    sought = [(side, seed) for side in (0, 1) for seed in seeds]
    used = [runs[place] for place in sought]
    shared = _in_all(used)
    pair = Pair(about, (), np.empty((2, 0, 0)), tuple(missing), other=sides.other)
    pair = pair._replace(pretrained=bool(sides.mine["spec"].iloc[0].needs))
    if not shared:
        return pair
    values = pd.concat([one[shared] for one in used], axis=1, join="inner").to_numpy().T
    shape = (2, len(seeds), len(shared), values.shape[1])
    correct = values.reshape(shape).mean(2)
    pair = pair._replace(seeds=tuple(seeds), correct=correct, levels=len(shared))
    return pair._replace(keys=tuple(keys[place] for place in sought))

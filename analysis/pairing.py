"""Which runs of a sweep are compared with which, on equal images, cuts and seeds.

A variant's YAML says what it is compared with (`analysis.variants`); nearly always that is A. The A
that was asked for with the same choices comes first. Where there is none, it is the A of the same
images, cut and seed that is most alike, from another cell of the sweep or from another sweep: one
of the same encoder and image size where there is one. A row then says what that A has otherwise.
"""

import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.frame import ASKED, asked_runs, predictions, refuse_mixed, short
from analysis.intervals import balancing_weights
from analysis.variants import REFERENCE, variant
from birds.core.errors import dotted
from birds.core.record import load_records
from birds.core.spec import RunSpec, read_spec
from birds.core.store import RunFolder

Right = Callable[[str], pd.DataFrame | None]
IMAGE = ("encoder.name", "image.size", "image.channels")  # choices of how an image is read


class Pair(NamedTuple):
    """What two variants say of equal images: `correct` is (2, S, N), the variant's and the other's,
    1 where right.

    Under noise it is a share of so many `levels`. `other` says which choices the other has that the
    row does not name; empty where all are equal. `pretrained`: whether the variant stands on a
    pretraining. `keys` are those of the runs that were compared.
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
        """Whether there are seeds and images enough for an interval over both."""
        return bool(min(self.correct.shape[1:]) > 1)


class Sides(NamedTuple):
    """The runs of a comparison, rows of `asked_runs`: the variant's, and those it is compared with;
    and which choices the latter have that the former have not.
    """

    mine: pd.DataFrame
    theirs: pd.DataFrame
    other: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all of them."""
        return (*self.mine["key"], *self.theirs["key"])


def pairs(runs_dir: Path, sweep: str, *, noisy: bool = False, balanced: bool = False) -> list[Pair]:
    """Every comparison a sweep allows, as its variants' YAMLs name them, where all else is equal.

    A variant that was not asked for or is not finished leaves a hole: fewer seeds, in the end none.
    Raises UserError when there is no such sweep, or one comparison mixes recipes, images or
    precisions.
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
    """What each variant of a cell is compared with: A first, even where it was not asked for.

    Where A is `alone` in a sweep, its cells are compared with its first one.
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
    """The runs of a comparison, both from this sweep; None where a cell would be its own."""
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
    """Whether two runs have the same images and, for equal seeds, the same cut."""
    choices = ("split", "labels_per_class")
    same_cut = all(getattr(one, name) == getattr(two, name) for name in choices)
    return same_cut and one.data.digest == two.data.digest


def _most_alike(candidates: pd.DataFrame, families: pd.Series, mine: pd.DataFrame) -> str:
    """The family of candidates that reads images as these runs do, where there is one, has most of
    their seeds, and shares most of their choices.
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
    """The swept choices in which two rows of `asked_runs` differ, as the second has them."""
    names = [name for name in mine.index if name not in ASKED and mine[name] != theirs[name]]
    return " ".join(f"{short(name)}={theirs[name]}" for name in names if theirs[name])


def _references_elsewhere(runs_dir: Path) -> pd.DataFrame:
    """The finished runs of A under `runs_dir`, whichever sweep asked for them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # runs of other recipes are nothing to warn of here
        records = load_records(runs_dir)
    rows = []
    for record in records.to_dict("records"):
        if record["stage"] == "classify" and record["variant"] == REFERENCE:
            spec = read_spec(RunFolder(runs_dir, record["key"]).spec_file.read_text())
            rows.append(record | {"spec": spec})
    columns = [*ASKED, "split_digest", "precision"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _from_elsewhere(mine: pd.DataFrame, records: pd.DataFrame, found: pd.DataFrame) -> Sides:
    """A comparison with the A of another sweep that has the same cuts, budget and precision; with
    nothing where there is none.
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
    """How another run reads images, where it does so otherwise."""
    own = dict(dotted(mine.model_dump(mode="json")))
    other = dict(dotted(theirs.model_dump(mode="json")))
    names = [name for name in IMAGE if own[name] != other[name]]
    return " ".join(f"{name.removesuffix('.name')}={other[name]}" for name in names)


def _right(runs_dir: Path, key: str, *, noisy: bool, balanced: bool = False) -> pd.DataFrame | None:
    """Whether a run was right about each test image, under noise at each fraction; None where that
    is gone, or was not measured. With `balanced`, being right counts by the inverse of the class's
    number of images.
    """
    names = ("test_hits_noise",) if noisy else ("test_logits", "test_label")
    record = load_records(runs_dir, [key])
    saved = predictions(runs_dir, key, "test_image", *names)
    if record.empty or saved is None:
        return None
    right = saved[1][:, 1:] if noisy else saved[1].argmax(1) == saved[2]
    counted = right * balancing_weights(saved[2]) if balanced else right.astype(float)
    frame = pd.DataFrame(counted, index=saved[0])
    if noisy and "test_noise" in record:
        frame.columns = pd.Index(record["test_noise"].iloc[0][1:])
    return frame if len(frame.columns) else None


def _in_all(frames: list[pd.DataFrame]) -> list[Any]:
    """The columns, fractions of noise, that all of these frames have."""
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

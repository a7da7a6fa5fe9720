"""The finished runs of a sweep as one frame, and the keys of its missing runs."""

import contextlib
import shlex
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.reading import once
from birds.core.record import load_records
from birds.core.spec import UserError, read_spec
from birds.core.store import RunFolder
from birds.core.sweep import Asked, read_sweep

BROKEN = (OSError, EOFError, ValueError, KeyError, BadZipFile, zlib.error)  # errors of a bad .npz
SHOWN_ANYWAY = ("split", "variant", "seed")  # columns of every table
NAMED_ALWAYS = ("data.labels_per_class",)  # a choice that the split does not show
ASKED = ("key", "split", "variant", "seed", "spec")  # columns of `asked_runs`, without swept ones
UNEVEN = 2  # ratio of the largest to the smallest class above which accuracy alone misleads
MEANINGLESS = "smoke"  # the budget that only tests whether everything works
NEVER_MIXED = {  # columns that must agree within a comparison, and what to do if they do not
    "recipe": "move the runs of one recipe away",
    "data_digest": "compare runs on the same images",
    "precision": "run it again with the precision of the others, in another runs_dir=",
}


def sweep_keys(runs_dir: Path, name: str) -> list[str]:
    """The keys of a sweep's classifier runs, each once.

    Raises UserError if the sweep does not exist.
    """
    return list(dict.fromkeys(run.key for run in read_sweep(runs_dir, name).runs))


@once
def swept_choices(runs_dir: Path, name: str) -> pd.DataFrame:
    """The swept choices of a sweep except split, variant and seed: one column each, one row per key
    (from its first overrides).
    """
    asked = reversed(read_sweep(runs_dir, name).runs)
    words = {run.key: _words(run) for run in asked}
    frame = pd.DataFrame.from_dict(words, orient="index").fillna("")
    varied = []
    for name in frame.columns:
        is_telling = frame[name].nunique() > 1 or name in NAMED_ALWAYS
        if is_telling and name not in SHOWN_ANYWAY:
            varied.append(name)
    return frame[varied]


def _words(run: Asked) -> dict[str, str]:
    """The overrides of a run, value by key."""
    return dict(word.split("=", 1) for word in run.overrides)


def short(choice: str) -> str:
    """The short name of a choice: `min_steps` for `budget.classify.min_steps`."""
    return choice.rpartition(".")[2]


@once
def sweep_frame(runs_dir: Path, name: str) -> tuple[pd.DataFrame, list[str]]:
    """The records of a sweep's finished runs, one row each, and the keys of the missing runs.

    Raises UserError if runs that differ only in the seed are mixed (see `refuse_mixed`).
    """
    keys = sweep_keys(runs_dir, name)
    frame = load_records(runs_dir, keys)
    for _, family in frame.groupby("family") if len(frame) else ():
        refuse_mixed(family)
    finished = set(frame["key"]) if len(frame) else set()
    return frame, [key for key in keys if key not in finished]


def refuse_mixed(frame: pd.DataFrame) -> None:
    """Raise UserError unless all runs have the same recipe, images and precision."""
    for column in [name for name in NEVER_MIXED if name in frame]:
        count = frame[column].value_counts()
        if len(count) > 1:
            most, *_, other = count.index
            odd = frame[frame[column] == other].iloc[0]
            which = f"{odd['variant']} split={odd['split']} seed={odd['seed']}"
            raise UserError(
                f"run {odd['key']} ({which}) has {column}={other}, "
                f"the runs to compare it with have {most}: {NEVER_MIXED[column]}"
            )


@once
def asked_runs(runs_dir: Path, name: str) -> pd.DataFrame:
    """Every requested run of a sweep: key, split, variant, seed, its spec, and other swept choices.

    A variant that does not use a swept choice has one row for each value of it, all with one key.
    """
    swept, rows = list(swept_choices(runs_dir, name).columns), []
    for run in read_sweep(runs_dir, name).runs:
        words = dict.fromkeys(swept, "") | _words(run)
        with contextlib.suppress(OSError, ValueError):
            spec = read_spec(RunFolder(runs_dir, run.key).spec_file.read_text())
            own = {"key": run.key, "split": spec.split, "variant": spec.variant, "seed": spec.seed}
            rows.append(own | {"spec": spec} | {choice: words[choice] for choice in swept})
    return pd.DataFrame(rows, columns=[*ASKED, *swept])


def command(
    runs_dir: Path, name: str, *, seeds: Iterable[int] = (), variants: Iterable[str] = ()
) -> str:
    """The command that runs a sweep again, perhaps with more seeds or variants; finished runs are
    not repeated.
    """
    words: dict[str, list[str]] = {}
    for run in read_sweep(runs_dir, name).runs:
        for key, value in (word.split("=", 1) for word in run.overrides):
            words.setdefault(key, []).append(value)
    asked = asked_runs(runs_dir, name)
    words["variant"] = [*asked["variant"], *variants]
    words["seed"] = [str(seed) for seed in sorted({*asked["seed"], *seeds})]
    joined = (f"{key}={','.join(dict.fromkeys(values))}" for key, values in words.items())
    return f"python train.py -m {' '.join(shlex.quote(word) for word in joined)}"


def predictions(runs_dir: Path, key: str, *names: str) -> list[NDArray[Any]] | None:
    """Arrays of a run's saved predictions (`birds.train.run`), by name; None if there are none."""
    try:
        with np.load(RunFolder(runs_dir, key).predictions_file, allow_pickle=False) as saved:
            return [saved[name] for name in names]
    except BROKEN:
        return None


def noisy_hits(runs_dir: Path, key: str) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    """The names (N,) of the images on which a run was tested under noise, and correct or not for
    each of them and each noise level (N, L), 0 first; None if they are not saved.
    """
    saved = predictions(runs_dir, key, "test_image_noise", "test_hits_noise")
    saved = saved or predictions(runs_dir, key, "test_image", "test_hits_noise")
    return (saved[0], saved[1]) if saved else None


def is_uneven(frame: pd.DataFrame) -> bool:
    """Whether class sizes differ by more than two to one, in labels or in test images; empty
    classes do not count.
    """
    counts = [list(one) for one in frame.get("images_labelled_by_class", ()) if _is_list(one)]
    tested = [one for one in frame.get("test_confusion", ()) if _is_list(one)]
    counts += [np.sum(one, axis=1).tolist() for one in tested]
    for per_class in counts:
        there = [count for count in per_class if count]
        if there and max(there) > UNEVEN * min(there):
            return True
    return False


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, np.ndarray)) and len(value) > 0


def meaningless(frame: pd.DataFrame) -> str:
    """A warning for runs that only show that everything works; empty for other runs."""
    if "choice.budget" not in frame or MEANINGLESS not in set(frame["choice.budget"]):
        return ""
    return (
        f"budget={MEANINGLESS}: these numbers mean nothing; they only show that everything works."
    )


def chance(frame: pd.DataFrame) -> float | None:
    """The accuracy of guessing among the classes; None if the runs' numbers of classes differ or
    are unknown.
    """
    if "classes" not in frame:
        return None
    counts = {len(classes) for classes in frame["classes"] if _is_list(classes)}
    return 1 / counts.pop() if len(counts) == 1 else None


def needed_keys(frame: pd.DataFrame) -> list[str]:
    """The keys of the runs that these runs need, each once."""
    keys: dict[str, None] = {}
    for needs in frame.get("needs_keys", ()):
        keys |= dict.fromkeys(needs)
    return list(keys)


def needed_records(runs_dir: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """The records of the runs that these runs need, directly or not, the deepest last."""
    return _with_their_needs(runs_dir, tuple(needed_keys(frame)))


@once
def _with_their_needs(runs_dir: Path, keys: tuple[str, ...]) -> pd.DataFrame:
    found = [load_records(runs_dir, list(keys))]
    while len(found[-1]):
        found.append(load_records(runs_dir, needed_keys(found[-1])))
    records = pd.concat(found, ignore_index=True)
    return records.drop_duplicates("key", ignore_index=True) if len(records) else records


def pretraining_seconds(runs_dir: Path, frame: pd.DataFrame) -> pd.Series:
    """The training seconds of all pretraining of each classifier (shared with others), or 0."""
    records = needed_records(runs_dir, frame)
    needs, seconds = {}, {}
    for record in records.to_dict("records"):
        needs[record["key"]] = record["needs_keys"]
        seconds[record["key"]] = float(record["cost_seconds"])

    def lineage(keys: Iterable[str]) -> set[str]:
        """These runs, and all that they need."""
        before = [lineage(needs.get(key, ())) for key in keys]
        return set(keys).union(*before)

    totals = []
    for keys in frame["needs_keys"]:
        totals.append(sum(seconds.get(key, 0.0) for key in lineage(keys)))
    return pd.Series(totals, index=frame.index, dtype=float)

"""The finished runs of a sweep as one frame, and which runs it still lacks."""

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

from birds.core.record import load_records
from birds.core.spec import UserError, read_spec
from birds.core.store import RunFolder
from birds.core.sweep import Asked, read_sweep

BROKEN = (OSError, EOFError, ValueError, KeyError, BadZipFile, zlib.error)  # what a bad .npz raises
SHOWN_ANYWAY = ("split", "variant", "seed")  # columns of every table
NAMED_ALWAYS = ("data.labels_per_class",)  # a cut that the split does not tell
ASKED = ("key", "split", "variant", "seed", "spec")  # columns of `asked_runs` beside what was swept
UNEVEN = 2  # from which ratio of the largest class to the smallest accuracy alone misleads
MEANINGLESS = "smoke"  # the budget that only tries whether everything works
NEVER_MIXED = {  # columns that must agree within a comparison, and how to make them
    "recipe": "move the runs of one of them away",
    "data_digest": "compare runs on the same images",
    "precision": "run it again with the precision of the others, into another runs_dir=",
}


def sweep_keys(runs_dir: Path, name: str) -> list[str]:
    """The keys of the classifier runs a sweep asked for, each once.

    Raises UserError when there is no such sweep.
    """
    return list(dict.fromkeys(run.key for run in read_sweep(runs_dir, name).runs))


def swept_choices(runs_dir: Path, name: str) -> pd.DataFrame:
    """What a sweep varied beside split, variant and seed: a column each, a row for each key (the
    first that asked).
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
    """The overrides that asked for a run, value by key."""
    return dict(word.split("=", 1) for word in run.overrides)


def short(choice: str) -> str:
    """A choice as people read it: `min_steps` for `budget.classify.min_steps`."""
    return choice.rpartition(".")[2]


def sweep_frame(runs_dir: Path, name: str) -> tuple[pd.DataFrame, list[str]]:
    """The records of a sweep's finished runs, one row each, and the keys of those that are missing.

    Raises UserError when runs that differ in their seed alone are mixed (see `refuse_mixed`).
    """
    keys = sweep_keys(runs_dir, name)
    frame = load_records(runs_dir, keys)
    for _, family in frame.groupby("family") if len(frame) else ():
        refuse_mixed(family)
    finished = set(frame["key"]) if len(frame) else set()
    return frame, [key for key in keys if key not in finished]


def refuse_mixed(frame: pd.DataFrame) -> None:
    """Raise UserError, naming the run that differs, unless all are of one recipe, the same images
    and one precision.
    """
    for column in [name for name in NEVER_MIXED if name in frame]:
        count = frame[column].value_counts()
        if len(count) > 1:
            most, *_, other = count.index
            odd = frame[frame[column] == other].iloc[0]
            which = f"{odd['variant']} split={odd['split']} seed={odd['seed']}"
            raise UserError(
                f"run {odd['key']} ({which}) has {column}={other}, "
                f"those it is compared with {most}: {NEVER_MIXED[column]}"
            )


def asked_runs(runs_dir: Path, name: str) -> pd.DataFrame:
    """Every run a sweep asked for, as often as it did: key, split, variant, seed, its spec, and
    what else was swept.

    A variant that does not read a choice stands there once for each value of it, always under the
    same key.
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
    """The command that asks for a sweep again, with more seeds or variants; what is finished is not
    run again.
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
    """Arrays that a run saved of its predictions (`birds.train.run`), by name; None where they are
    gone.
    """
    try:
        with np.load(RunFolder(runs_dir, key).predictions_file, allow_pickle=False) as saved:
            return [saved[name] for name in names]
    except BROKEN:
        return None


def is_uneven(frame: pd.DataFrame) -> bool:
    """Whether the classes of these runs are uneven by more than two to one, by their labels or by
    their test images; a class that has none of them does not count.
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
    """What is said of numbers that only show that everything works; empty where there are none."""
    if "choice.budget" not in frame or MEANINGLESS not in set(frame["choice.budget"]):
        return ""
    return f"budget={MEANINGLESS}: these numbers mean nothing; they show that everything works."


def chance(frame: pd.DataFrame) -> float | None:
    """The accuracy of guessing among the classes of these runs; None where the records do not have
    them or the runs differ in them.
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
    """The records of all that these runs need, and of what that needs, the deepest last."""
    found = [load_records(runs_dir, needed_keys(frame))]
    while len(found[-1]):
        found.append(load_records(runs_dir, needed_keys(found[-1])))
    records = pd.concat(found, ignore_index=True)
    return records.drop_duplicates("key", ignore_index=True) if len(records) else records


def pretraining_seconds(runs_dir: Path, frame: pd.DataFrame) -> pd.Series:
    """For each classifier, the training seconds of all that it stands on (shared with others); 0
    for none.
    """
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

"""The finished runs of a sweep as one frame, and which runs it still lacks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from birds.record import load_records
from birds.sweep import read_sweep

SHOWN_ANYWAY = ("split", "variant", "seed")  # columns of every table


def sweep_keys(runs_dir: Path, name: str) -> list[str]:
    """The keys of the classifier runs a sweep asked for, each once. Raises Refused when there is no such sweep."""
    return list(dict.fromkeys(run.key for run in read_sweep(runs_dir, name).runs))


def swept_choices(runs_dir: Path, name: str) -> pd.DataFrame:
    """What a sweep varied beside split, variant and seed: a column each, a row for each key (the first that asked)."""
    asked = reversed(read_sweep(runs_dir, name).runs)
    words = {run.key: dict(w.split("=", 1) for w in run.overrides) for run in asked}
    frame = pd.DataFrame.from_dict(words, orient="index").fillna("")
    varied = [name for name in frame.columns if frame[name].nunique() > 1 and name not in SHOWN_ANYWAY]
    return frame[varied]


def sweep_frame(runs_dir: Path, name: str) -> tuple[pd.DataFrame, list[str]]:
    """The records of a sweep's finished runs, one row each, and the keys of those that are missing."""
    keys = sweep_keys(runs_dir, name)
    frame = load_records(runs_dir, keys)
    finished = set(frame["key"]) if len(frame) else set()
    return frame, [key for key in keys if key not in finished]


def pretraining_seconds(runs_dir: Path, frame: pd.DataFrame) -> pd.Series:
    """For each classifier, the training seconds of the pretraining it stands on (shared with others); 0 for none."""
    keys = [key for key in dict.fromkeys(frame["pretrained_key"]) if isinstance(key, str)]
    records = load_records(runs_dir, keys)
    seconds = dict(zip(records["key"], records["cost_seconds"], strict=True)) if len(records) else {}
    return frame["pretrained_key"].map(lambda key: float(seconds.get(key, 0.0)))

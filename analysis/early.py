"""Finds runs that kept the weights of an early epoch: they may have learned little."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.frame import needed_records, sweep_frame

EARLY = 0.2  # share of the requested epochs that counts as early
NAMED = 3


def early_epochs(runs_dir: Path, sweep: str) -> list[str]:
    """A sentence on the runs of a sweep, and on the runs that they need, that kept an epoch of the
    first fifth; empty if there are none.
    """
    frame, _ = sweep_frame(runs_dir, sweep)
    early = []
    for records in (needed_records(runs_dir, frame), frame):
        early += [_words(run) for run in records.to_dict("records") if _is_early(run)]
    if not early:
        return []
    more = f" and {len(early) - NAMED} more" if len(early) > NAMED else ""
    return [
        f"Kept a very early epoch, so it may have learned little: {'; '.join(early[:NAMED])}{more}."
    ]


def _is_early(run: Mapping[Any, Any]) -> bool:
    best, asked = (float(run.get(name, np.nan)) for name in ("best_epoch", "epochs_asked"))
    return best + 1 <= EARLY * asked  # false if one is unknown


def _words(run: Mapping[Any, Any]) -> str:
    cut = f"{run['split']}/{100 - int(run['split'])}"
    epoch = f"epoch {int(run['best_epoch']) + 1} of {int(run['epochs_asked'])}"
    return f"{run['variant']} {cut} seed {run['seed']} ({epoch})"

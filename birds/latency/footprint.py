"""What a model costs before its first photo: seconds and memory, each measured in a process that does nothing else.

`python -m birds.latency.footprint RUNS_DIR KEY NAME` prints it as JSON. It imports little before it starts to measure.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from birds.quantize.models import Classifier, open_model, read_models
from birds.store import RunFolder

REPETITIONS = 3
PATIENCE = 120  # seconds


@dataclasses.dataclass(frozen=True)
class Footprint:
    """Of a fresh process, median of several.

    import_ms imports the runtime; load_ms opens the model and answers for one photo; load_mb is by how much the
    resident memory has grown since before the import, in MiB. None: could not be measured.
    """

    import_ms: float | None = None
    load_ms: float | None = None
    load_mb: float | None = None


def footprint(runs_dir: Path, key: str, name: str) -> Footprint:
    """The footprint of one model of a run; `eager` is its checkpoint in PyTorch. Unknown when the process fails."""
    command = [sys.executable, "-m", "birds.latency.footprint", str(runs_dir.resolve()), key, name]
    found = []
    for _ in range(REPETITIONS):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
        except (subprocess.SubprocessError, ValueError, IndexError):
            return Footprint()
    return Footprint(**{k: _median([one[k] for one in found]) for k in ("import_ms", "load_ms", "load_mb")})


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def measured_here(runs_dir: Path, key: str, name: str) -> Footprint:
    """Import, open and answer once in this process: only a fresh one gives the truth."""
    folder = RunFolder(runs_dir, key)
    model = next((model for model in read_models(folder) if model.name == name), None)
    before, began = resident_mb(), time.perf_counter()
    importlib.import_module(model.backend if model else "torch")
    imported = time.perf_counter()
    if model is not None:
        size, classify = model.size, open_model(model, 1)
    else:
        size, classify = _eager(folder)
    classify(np.zeros((1, size, size, 3), np.uint8))
    answered, after = time.perf_counter(), resident_mb()
    grown = after - before if after is not None and before is not None else None
    return Footprint(1000 * (imported - began), 1000 * (answered - imported), grown)


def _eager(folder: RunFolder) -> tuple[int, Classifier]:
    import torch

    from birds.latency.entries import called, load_network
    from birds.spec import read_spec

    torch.set_num_threads(1)
    return read_spec(folder.spec_file.read_text()).data.size, called(load_network(folder))


def resident_mb() -> float | None:
    """Memory of this process that is in RAM, in MiB; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(measured_here(Path(sys.argv[1]), *sys.argv[2:4]))))

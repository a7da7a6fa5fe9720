"""Measures the start of a model: time and memory until its first answer, in a separate process.

`python -m birds.use.latency.footprint RUNS_DIR KEY NAME` prints the result as JSON. It imports
little before it starts to measure.
"""

import importlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birds.core.spec import ImageChoices
from birds.core.store import RunFolder
from birds.use.quantize.models import Classifier, open_model, read_models

Footprint = dict[str, float | None]

UNKNOWN: Footprint = {"import_ms": None, "load_ms": None, "load_mb": None}
REPETITIONS = 3
PATIENCE = 120  # seconds


def footprint(runs_dir: Path, key: str, name: str) -> Footprint:
    """The start-up cost of one model of a run, as the median of several new processes.

    The name `eager` is the run's checkpoint in PyTorch. import_ms: time to import the runtime.
    load_ms: time to open the model and classify one image. load_mb: growth of the resident memory
    since before the import, in MiB. None or NaN means that it could not be measured.
    """
    command = [
        sys.executable,
        "-m",
        "birds.use.latency.footprint",
        str(runs_dir.resolve()),
        key,
        name,
    ]
    found = []
    try:
        for _ in range(REPETITIONS):
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=PATIENCE, check=True
            )
            found.append(json.loads(done.stdout.splitlines()[-1]))
    except (subprocess.SubprocessError, ValueError, IndexError):
        return UNKNOWN
    medians: Footprint = {}
    for column in UNKNOWN:
        medians[column] = statistics.median([one[column] for one in found])
    return medians


def measured_here(runs_dir: Path, key: str, name: str) -> Footprint:
    """Import, open and answer once in this process; the result is only right in a new process."""
    folder = RunFolder(runs_dir, key)
    model = next((model for model in read_models(folder) if model.name == name), None)
    before = resident_mb()
    began = time.perf_counter()
    importlib.import_module(model.backend if model else "torch")
    imported = time.perf_counter()
    if model is None:
        image, classify = _eager(folder)
    else:
        image, classify = model.image, open_model(model, 1)
    classify(_black(image))
    load_ms = 1000 * (time.perf_counter() - imported)
    return {
        "import_ms": 1000 * (imported - began),
        "load_ms": load_ms,
        "load_mb": resident_mb() - before,
    }


def _eager(folder: RunFolder) -> tuple[ImageChoices, Classifier]:
    from birds.use.latency.entries import eager, load_network

    network, image = load_network(folder)
    return image, eager(network, 1, _black(image))


def _black(image: ImageChoices) -> NDArray[np.uint8]:
    return np.zeros((1, image.size, image.size, image.channels), np.uint8)


def resident_mb() -> float:
    """The memory of this process that is in RAM, in MiB; NaN if the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return math.nan
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    print(json.dumps(measured_here(Path(sys.argv[1]), *sys.argv[2:4])))

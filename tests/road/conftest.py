"""A small folder of photos and the real command line, for tests from start to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "data=folder",
    "data.test=2",
    "budget=smoke",
    "encoder.widths=[8,16,24,32]",
    "tracking=none",
    "device=cpu",
]
FINISHED = "record.json"
MEASURED_ANEW = ("cost_", "git_", "host", "runtime.", "package_versions", "python_version")


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three species with stripes in different directions.

    Each has 18 training, 6 validation and 6 test photos.
    """
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:96, 0:96]
    for name, (a, b) in {"ACROSS": (0, 1), "DOWN": (1, 0), "SLANTED": (1, 1)}.items():
        for part, count in {"train": 18, "valid": 6, "test": 6}.items():
            folder = root / part / name
            folder.mkdir(parents=True)
            for k in range(count):
                wave = 0.5 + 0.4 * np.sin(
                    (a * x + b * y) / random.uniform(2, 4) + random.uniform(0, 6)
                )
                photo = wave[..., None] * random.uniform(0.3, 1, 3) + random.normal(
                    0, 0.08, (96, 96, 3)
                )
                Image.fromarray((photo.clip(0, 1) * 255).astype(np.uint8)).save(
                    folder / f"{k:03}.jpg"
                )
    return root


class Road:
    """`python train.py` and `birds` on the small folder, with one runs folder."""

    def __init__(self, photos: Path, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._settings = [
            *SMALL,
            f"data.root={photos}",
            f"runs_dir={runs_dir}",
            f"cache_dir={photos.parent}/cache",
        ]
        self._env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}

    def _command(self, overrides: tuple[str, ...]) -> list[str]:
        own = [word for word in overrides if word != "-m"]
        multirun = ["-m"] * (overrides[:1] == ("-m",))
        return [sys.executable, str(ROOT / "train.py"), *multirun, *self._settings, *own]

    def start(self, *overrides: str) -> subprocess.Popen[str]:
        """Start training without waiting for its end."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._command(overrides),
            cwd=self.runs_dir.parent,
            env=self._env,
            text=True,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )

    def train(self, *overrides: str, status: int = 0) -> str:
        """Train; returns the text on both streams. Fails unless the exit status is the expected
        one.
        """
        return self._call(self._command(overrides), status)

    def birds(self, *words: str, status: int = 0) -> str:
        """Run the `birds` command on these runs."""
        return self._call(
            [sys.executable, "-m", "birds", "--runs-dir", str(self.runs_dir), *words], status
        )

    def _call(self, command: list[str], status: int) -> str:
        done = forked.call(command, self.runs_dir.parent, self._env)
        said = f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == status, said
        return done.stdout + done.stderr

    def records(self) -> dict[str, dict[str, Any]]:
        """The record of every finished run, by key."""
        return {
            f.parent.name: json.loads(f.read_text()) for f in self.runs_dir.glob(f"*/{FINISHED}")
        }

    def results(self) -> dict[str, dict[str, Any]]:
        """The records without values that differ each time (seconds, memory, versions, folders)."""
        return {
            key: {
                name: value for name, value in record.items() if not name.startswith(MEASURED_ANEW)
            }
            for key, record in self.records().items()
        }

    def kill_when(self, moment: Callable[[], bool], *overrides: str) -> None:
        """Start training, and kill it and its children with SIGKILL when `moment` has come."""
        process = self.start(*overrides)
        deadline = time.monotonic() + 120
        while not moment():
            assert process.poll() is None, "".join(process.communicate())
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def road(photo_folder: Path, tmp_path: Path) -> Road:
    """The road with an empty runs folder."""
    (tmp_path / "runs").mkdir()
    return Road(photo_folder, tmp_path / "runs")

"""Fixtures for many tests: small folders of photos, and real photos if this machine has them."""

import csv
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

settings.register_profile("birds", deadline=None)  # the time of an example depends on the machine
settings.load_profile("birds")
# Background jobs of a script ignore Ctrl-C. Without this line, so would the programs that the tests
# start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent
# Tests that share a cluster or a trained run stay on one worker. This is also the order in which
# they start, two at a time: tests that mostly wait for SLURM run beside tests that compute.
TOGETHER = (
    "tests/slurm/test_chaos.py",
    "tests/road/test_resume.py",
    "tests/notebooks/",
    "tests/quantize/",
    "tests/slurm/test_real_runs.py",
    "tests/slurm/test_sweeps.py",
    "tests/latency/",
    "tests/analysis/test_dashboard.py",
    "tests/analysis/test_report.py",
    "tests/tracked/test_sync.py",
)


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups after us
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that share something slow into one group of pytest-xdist, these groups first."""
    rank = {}
    for item in items:
        rank[item] = next(
            (k for k, place in enumerate(TOGETHER) if item.nodeid.startswith(place)), len(TOGETHER)
        )
        if rank[item] < len(TOGETHER):
            item.add_marker(pytest.mark.xdist_group(TOGETHER[rank[item]]))
    items.sort(key=rank.__getitem__)


@pytest.fixture(autouse=True)
def limit_of_csv_fields() -> None:
    """Restore Python's own limit, because a program in this process may have raised it."""
    csv.field_size_limit(131_072)


def _draw(seed: int, size: int = 40) -> Image.Image:
    patches = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((size, size), Image.Resampling.BICUBIC)


def _write(root: Path, counts: Mapping[str, int]) -> Path:
    for k, (folder, count) in enumerate(sorted(counts.items())):
        (root / folder).mkdir(parents=True)
        for number in range(1, count + 1):
            _draw(1000 * k + number).save(root / folder / f"{number:03d}.jpg")
    return root


@pytest.fixture(scope="session")
def draw_photo() -> Callable[..., Image.Image]:
    """A function (seed, size=40) that draws soft coloured patches, different for each seed."""
    return _draw


@pytest.fixture(scope="session")
def write_photos() -> Callable[[Path, Mapping[str, int]], Path]:
    """A function that writes different photos under a root, from counts by folder such as
    `{"train/ROBIN": 8}`.
    """
    return _write


@pytest.fixture
def photos_in(tmp_path: Path) -> Callable[[Mapping[str, int]], Path]:
    """A function that writes photos, from counts by folder, into this test's root; it returns the
    root.
    """
    return lambda counts: _write(tmp_path / "photos", counts)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets next to the project, if there is one."""
    folder = Path(os.environ.get("BIRDS_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real photos on this machine: {folder} is absent (set BIRDS_SHARED_DATA)")
    return folder

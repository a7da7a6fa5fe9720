"""A real SLURM for these tests. Without it they are skipped, with the command that installs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "slurm" / "testbed"))
from cluster import Cluster, missing  # noqa: E402

SMALL = [
    "data=folder",
    "data.test=2",
    "budget=smoke",
    "encoder.widths=[8,16]",
    "tracking=none",
    "device=cpu",
]
QUICK = (str(ROOT / "tests" / "slurm" / "quick_main.py"), "train")


@pytest.fixture(scope="session", autouse=True)
def slurm_is_installed() -> None:
    if lacking := missing():
        pytest.skip(
            f"no SLURM on this machine ({', '.join(lacking)}): install it with "
            "slurm/testbed/install.sh"
        )


@pytest.fixture(scope="session")
def new_cluster() -> Iterator[Callable[..., Cluster]]:
    """A function that makes a cluster in its own folder; `with` starts and stops it."""
    folders: list[str] = []

    def make(**settings: Any) -> Cluster:
        folders.append(tempfile.mkdtemp(prefix="slurm-"))  # a short path, because it holds a socket
        return Cluster(Path(folders[-1]), **settings)

    yield make
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_cluster(new_cluster: Callable[..., Cluster]) -> Iterator[Cluster]:
    with new_cluster(memory=64000) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster of two nodes with four CPUs and two GPUs each, without jobs before and after."""
    yield shared_cluster
    shared_cluster.clear()


@pytest.fixture(scope="session")
def photos(
    tmp_path_factory: pytest.TempPathFactory,
    write_photos: Callable[[Path, Mapping[str, int]], Path],
) -> Path:
    """Three species with 14 training, 3 validation and 4 test photos each."""
    parts = {"train": 14, "valid": 3, "test": 4}
    counts = {
        f"{part}/{name}": count for part, count in parts.items() for name in ("JAY", "OWL", "TIT")
    }
    return write_photos(tmp_path_factory.mktemp("small"), counts)


class Site:
    """The command line on a cluster: `train` for real runs, `quick` for quick runs."""

    def __init__(self, cluster: Cluster, photos: Path, runs_dir: Path) -> None:
        self.cluster, self.runs_dir = cluster, runs_dir
        self.env = cluster.env | {"OMP_NUM_THREADS": "1", "COLUMNS": "160"}
        self.settings = [
            *SMALL,
            f"data.root={photos}",
            f"runs_dir={runs_dir}",
            f"cache_dir={photos.parent}/cache",
        ]
        self.settings += ["slurm=cpu", "slurm.mem_gb=0.2"]

    def start(
        self, *words: str, script: Sequence[str] = QUICK, **env: str
    ) -> subprocess.Popen[str]:
        """Start a sweep without waiting for its end."""
        command = [sys.executable, *script, "-m", *self.settings, *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command,
            cwd=self.runs_dir.parent,
            env=self.env | env,
            text=True,
            stdout=pipe,
            stderr=pipe,
        )

    def quick(self, *words: str, status: int = 0) -> str:
        """A sweep of quick runs; returns its output."""
        return ended(self.start(*words), status)

    def train(self, *words: str, status: int = 0) -> str:
        """A sweep of real runs; returns its output."""
        return ended(self.start(*words, script=[str(ROOT / "train.py")]), status)

    def birds(self, *words: str, status: int = 0) -> str:
        """Run the `birds` command on these runs."""
        command = [sys.executable, QUICK[0], "birds", "--runs-dir", str(self.runs_dir), *words]
        pipe = subprocess.PIPE
        return ended(
            subprocess.Popen(command, cwd=ROOT, env=self.env, text=True, stdout=pipe, stderr=pipe),
            status,
        )

    def status(self, sweep: str = "last") -> list[dict[str, Any]]:
        """The output of `birds status --json`."""
        return list(json.loads(self.birds("status", sweep, "--json")))

    def states(self) -> dict[str, str]:
        """The state of each run by its title."""
        return {one["title"]: one["state"] for one in self.status()}

    def until(self, moment: Callable[[], object], seconds: float = 60) -> None:
        """Wait until a condition is true."""
        deadline = time.monotonic() + seconds
        while not moment():
            assert time.monotonic() < deadline, (
                f"the moment never came\n{self.cluster.run('squeue', '-a', '-r')}"
            )
            time.sleep(0.05)

    def epoch(self) -> int:
        """The largest epoch that any run has reported."""
        return max(
            (
                json.loads(file.read_text())["epoch"]
                for file in self.runs_dir.glob("*/progress.json")
            ),
            default=0,
        )

    def values(self) -> dict[str, str]:
        """The result of every finished quick run by key."""
        found = [json.loads(file.read_text()) for file in self.runs_dir.glob("*/record.json")]
        return {record["key"]: record["value"] for record in found}

    def all_done(self, runs: int) -> None:
        """Check that so many runs finished, each once, with the result of an undisturbed run."""
        values = self.values()
        assert len(values) == runs
        assert values == expected_values(list(values))
        assert set(self.events("finished").values()) == {1}

    def events(self, word: str) -> dict[str, int]:
        """For each run, how often a word is in its log of events."""
        files = self.runs_dir.glob("*/events.txt")
        return {file.parent.name: file.read_text().split().count(word) for file in files}

    def jobs(self) -> list[str]:
        """The states of all jobs of these runs in SLURM."""
        tokens = {file.stem for file in self.runs_dir.glob("sweeps/*/submissions/*.json")}
        listed = self.cluster.run("squeue", "-h", "-r", "-t", "all", "-o", "%T %j").splitlines()
        return [line.split()[0] for line in listed if line.split()[1].rsplit("-", 1)[-1] in tokens]


def ended(process: subprocess.Popen[str], status: int | None = 0) -> str:
    """The output of a process until its end. Fails unless it ends with `status`."""
    try:
        out, err = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert status is None or process.returncode == status, (
        f"exit status {process.returncode}\n{out}\n{err}"
    )
    return out + err


@pytest.fixture
def site(cluster: Cluster, photos: Path, tmp_path: Path) -> Site:
    """The command line on the cluster, with an empty runs folder."""
    (tmp_path / "runs").mkdir()
    return Site(cluster, photos, tmp_path / "runs")


def expected_values(keys: list[str]) -> dict[str, str]:
    """The results of quick runs of these keys without problems."""
    import hashlib

    found = {}
    for key in keys:
        value = key
        for epoch in range(4):
            value = hashlib.sha256(f"{value}/{epoch}".encode()).hexdigest()
        found[key] = value
    return found

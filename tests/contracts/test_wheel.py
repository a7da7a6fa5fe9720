"""The wheel contains everything that training needs, and no tests."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = "birds/home/"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The contents of the wheel, built from a copy of the files in git."""
    import shutil

    source = tmp_path_factory.mktemp("source")
    for name in ("birds", "analysis", "hydra_plugins", "configs", "sweeps", "slurm"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "train.py"):
        shutil.copy(ROOT / name, source)
    code = "from setuptools.build_meta import build_wheel; print(build_wheel('out'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(source / "out" / done.stdout.split()[-1]) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


def test_the_wheel_holds_every_configuration_sweep_and_profile(files: dict[str, bytes]) -> None:
    wanted = [ROOT / "train.py"]
    for pattern in ("configs/**/*.yaml", "sweeps/*.yaml", "slurm/*.yaml"):
        wanted += sorted(ROOT.glob(pattern))
    for file in wanted:
        assert files[HOME + file.relative_to(ROOT).as_posix()] == file.read_bytes()
    assert "birds/core/home.py" in files
    assert "analysis/dashboard/template.html" in files
    assert not [name for name in files if name.startswith(("tests", "notebooks"))]


def test_the_wheel_composes_a_run_without_the_repository(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    for name, data in files.items():
        place = tmp_path / "site" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    env = {k: v for k, v in os.environ.items() if k != "BIRDS_HOME"}
    env["PYTHONPATH"] = str(tmp_path / "site")
    (tmp_path / "work").mkdir()
    command = [sys.executable, "-m", "birds", "train", "dry_run=true", "budget=smoke"]
    done = subprocess.run(
        command, cwd=tmp_path / "work", env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "to do" in done.stdout


def test_windows_is_refused_in_one_sentence() -> None:
    code = "import sys; sys.platform = 'win32'; import birds"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("birds: Windows is not supported")
    assert len(done.stderr.splitlines()) == 1


def test_the_version_is_the_packages() -> None:
    from birds import __version__

    command = [sys.executable, "-m", "birds", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"birds {__version__}\n"

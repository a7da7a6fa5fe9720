"""`docs/extending.md` is executed: its files are written to their places, and its commands run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from composing import ROOT
from small_data import images, striped_pixels

PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCK = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOLDERS = ("birds", "configs", "hydra_plugins", "analysis")
SETTINGS = ["tracking=none", "device=cpu", "robustness_levels=[0.2]"]


def blocks() -> Iterator[tuple[str, str, str]]:
    """Language, label (`file=PATH` or a word) and text of every labelled block."""
    for found in BLOCK.finditer(PAGE):
        yield found[1], found[2], found[3]


def files() -> dict[str, str]:
    """The files of the page by their paths."""
    named = {}
    for _, label, text in blocks():
        if label.startswith("file="):
            named[label.removeprefix("file=")] = text
    return named


def command(label: str) -> str:
    (text,) = (text for _, own, text in blocks() if own == label)
    return text


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the page's files, and a small file of striped images."""
    root = tmp_path_factory.mktemp("extended") / "project"
    for folder in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    shutil.copy(ROOT / "train.py", root)
    for path, text in files().items():
        file = root / path
        assert not file.exists(), f"the page changes {path}, which is there already"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    table = images({"train": 30})
    pixels = striped_pixels(table, 32)
    np.savez(root / "images.npz", images=pixels, labels=table.label)
    return root


def record_of(project: Path, label: str) -> dict[str, Any]:
    """The record of the classifier that one of the page's commands trains."""
    runs = project / f"runs-{label}"
    binary = str(Path(sys.executable).parent)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("BIRDS", "HYDRA"))}
    environment |= {"PATH": f"{binary}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(project)
    words = " ".join([command(label).strip(), *SETTINGS, f"runs_dir={runs}"])
    done = subprocess.run(
        ["bash", "-ec", words],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(file.read_text()) for file in runs.glob("*/record.json")]
    (classifier,) = (record for record in records if record["stage"] == "classify")
    return classifier


def test_the_parts_of_the_page_train_together(project: Path) -> None:
    record = record_of(project, "run")
    assert record["choice.encoder.name"] == "strided_net"
    assert record["choice.method.options.head.name"] == "lda"
    assert record["choice.needs.variant"] == "gan"
    assert record["data_name"] == "arrays"
    assert record["epochs"] == 0
    assert record["test_accuracy"] > 1 / 3 + 0.2
    pretraining = project / "runs-run" / record["needs_keys"][0] / "record.json"
    assert json.loads(pretraining.read_text())["best_epoch"] == 1, "the last of two is kept"


def test_a_part_from_outside_is_named_by_its_module(project: Path) -> None:
    record = record_of(project, "outside")
    assert record["choice.method.options.head.part"] == "mine.nearest:NearestMean"
    assert record["test_accuracy"] > 1 / 3 + 0.2


@pytest.mark.parametrize("path", [path for path in files() if path.endswith(".py")])
def test_each_part_is_under_forty_lines_of_code(path: str) -> None:
    """Blank lines and docstrings, which all have one line here, are not counted."""
    text = files()[path]
    code = [line for line in text.splitlines() if line.strip() and '"""' not in line]
    assert len(code) < 40
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("path", [path for path in files() if path.endswith(".yaml")])
def test_each_yaml_names_its_part(path: str) -> None:
    assert yaml.safe_load(files()[path])["name"] == Path(path).stem

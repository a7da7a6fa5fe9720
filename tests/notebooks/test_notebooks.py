"""The notebooks run from photos to verdicts and agree with the records; the committed ones are
complete.
"""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

import jupytext
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from analysis.comparisons import compare_sweep
from analysis.verdicts import sentence, verdicts
from birds.data.rendering.bird_photos import render_bird
from birds.data.rendering.looks import SPECIES

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("01_data", "02_training", "03_analysis")
PARTS = {"train": 16, "valid": 4, "test": 8}
KINDS = 3
FEWER = ("variant=B1 split=70", "variant=B2 split=70", "variant=DVAE")  # each process costs seconds
SMALL = f"encoder.widths=[8,16,24,32] device=cpu 'launch.exclude={json.dumps(FEWER)}'"


def text_of(notebook: Any) -> str:
    """The text that a notebook's cells printed and displayed, with single spaces."""
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    shown = [
        output.get("text") or output.get("data", {}).get("text/markdown", "") for output in outputs
    ]
    return re.sub(" +", " ", "\n".join(shown))


def pictures_in(notebook: Any) -> int:
    """How many pictures its cells displayed."""
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    kinds = {"image/png", "image/jpeg"}
    return sum(bool(kinds & set(output.get("data", {}))) for output in outputs)


def embedded_birds(root: Path) -> Path:
    """A folder with a few photos of the first embedded species."""
    for species in range(KINDS):
        for first, (part, count) in enumerate(PARTS.items()):
            folder = root / part / SPECIES[species]
            folder.mkdir(parents=True)
            for k in range(count):
                Image.fromarray(render_bird(species, 1000 * first + k, size=128)).save(
                    folder / f"{k:03}.jpg"
                )
    return root


def execute(name: str) -> Any:
    """A notebook after running its cells; fails at the first cell that fails."""
    notebook = jupytext.read(ROOT / "notebooks" / f"{name}.py")
    about = {"metadata": {"path": str(ROOT / "notebooks")}}
    return NotebookClient(notebook, timeout=600, kernel_name="python3", resources=about).execute()


@pytest.mark.timeout(900)  # with other tests on the same cores; about a minute alone
def test_they_run_from_photos_to_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {
        "DATA": embedded_birds(tmp_path / "photos"),
        "RUNS": tmp_path / "runs",
        "SEEDS": 0,
        "BUDGET": "smoke",
    }
    chosen |= {
        "SPECIES": KINDS,
        "TEST": "auto",
        "OVERRIDES": SMALL,
        "SWEEPS": "exp1 exp2",
        "AFTER": "",
        "OMP_NUM_THREADS": 1,
    }
    chosen |= {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    for name, value in chosen.items():
        monkeypatch.setenv(name, str(value))

    photos = execute("01_data")
    assert f"{KINDS * sum(PARTS.values())} photos of {KINDS} species" in text_of(photos)
    assert pictures_in(photos) == 3

    training = execute("02_training")
    records = [json.loads(file.read_text()) for file in (tmp_path / "runs").glob("*/record.json")]
    records = sorted(
        (one for one in records if one["stage"] == "classify"), key=lambda one: one["split"]
    )
    made = {(one["split"], one["variant"]) for one in records}
    assert made == {(70, "A")} | {(90, name) for name in ("A", "B0", "B1", "B2", "DAE")}
    assert "**exp1**: 4 classifiers finished, 0 missing" in text_of(training)
    assert "**exp2**: 5 classifiers finished, 0 missing" in text_of(training)
    assert pictures_in(training) == 2

    says_what_the_records_say(execute("03_analysis"), records, tmp_path / "runs")


def says_what_the_records_say(analysis: Any, records: list[dict[str, Any]], runs_dir: Path) -> None:
    """Check every accuracy, every verdict and the best run's mistakes against the sweep's files."""
    said = text_of(analysis)
    for one in records:
        cells = (
            f"| {one['split']}/{100 - one['split']} |",
            f"| {one['images_labelled']} |",
            f"| {one['variant']} ",
            f"| {100 * one['test_accuracy']:.1f} [",
        )
        assert any(all(cell in line for cell in cells) for line in said.splitlines()), cells
    for sweep in ("exp1", "exp2"):
        for verdict in verdicts(compare_sweep(runs_dir, sweep)):
            assert f"- {sentence(verdict)}" in said
    under_noise = [
        sentence(verdict) for verdict in verdicts(compare_sweep(runs_dir, "exp2", noisy=True))
    ]
    assert under_noise
    assert all("under salt and pepper" in one.lower() and f"- {one}" in said for one in under_noise)
    best = max(
        (one for one in records if one["variant"] in ("A", "B1", "B2")),
        key=lambda one: one["valid_accuracy"],
    )
    wrong = np.sum(best["test_confusion"]) - np.trace(best["test_confusion"])
    assert f"Of {wrong} mistakes of this run" in said
    assert "**pareto** is not there: " in said
    assert "Experiment 2 is not there" not in said
    assert pictures_in(analysis) == 17


@pytest.mark.parametrize("name", NAMES)
def test_the_pair_agrees_and_holds_its_outputs(name: str) -> None:
    script, notebook = (
        jupytext.read(ROOT / "notebooks" / f"{name}.{kind}") for kind in ("py", "ipynb")
    )
    cells = [[(cell.cell_type, cell.source) for cell in one.cells] for one in (script, notebook)]
    assert cells[0] == cells[1], f"jupytext --sync notebooks/{name}.py"
    assert pictures_in(notebook) > 0, "make notebooks"
    assert not [
        o for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "error"
    ]
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 2e6


@pytest.mark.parametrize("name", NAMES)
def test_they_define_no_functions(name: str) -> None:
    tree = ast.parse((ROOT / "notebooks" / f"{name}.py").read_text())
    assert not [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)
    ]

"""The notebooks run from beginning to end on a small real sweep, and what is committed is what they say."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import jupytext
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("01_data", "02_training", "03_analysis")


def text_of(notebook: Any) -> str:
    """What a notebook's cells printed and displayed as text."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.get("text") or output.get("data", {}).get("text/markdown", "") for output in outputs]
    return "\n".join(shown)


def pictures_in(notebook: Any) -> int:
    """How many pictures its cells displayed."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.timeout(900)  # where other tests take the cores; about a minute alone
def test_they_run_from_photos_to_verdicts(tmp_path: Path, write_photos, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    parts = {"train": 16, "valid": 4, "test": 6}
    counts = {f"{part}/{name}": n for part, n in parts.items() for name in ("FINCH", "ROBIN", "WREN")}
    chosen = {"DATA": write_photos(tmp_path / "photos", counts), "RUNS": tmp_path / "runs", "SEEDS": "0"}
    chosen |= {"SPECIES": "3", "MOVE_TO_TEST": "0", "OVERRIDES": "encoder.widths=[8,16,24,32] device=cpu"}
    for name, value in chosen.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = {}
    for name in NAMES:
        notebook = jupytext.read(ROOT / "notebooks" / f"{name}.py")
        resources = {"metadata": {"path": str(ROOT / "notebooks")}}
        done[name] = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    assert "78 photos of 3 species" in text_of(done["01_data"])
    assert "**exp1**: 6 runs finished, 0 missing" in text_of(done["02_training"])
    assert "is ahead with" in text_of(done["03_analysis"])
    assert pictures_in(done["03_analysis"]) >= 12


@pytest.mark.parametrize("name", NAMES)
def test_the_pair_agrees_and_holds_its_outputs(name: str) -> None:
    script, notebook = (jupytext.read(ROOT / "notebooks" / f"{name}.{kind}") for kind in ("py", "ipynb"))
    cells = [[(cell.cell_type, cell.source) for cell in one.cells] for one in (script, notebook)]
    assert cells[0] == cells[1], f"jupytext --sync notebooks/{name}.py"
    assert pictures_in(notebook) > 0, "make notebooks"
    assert not [o for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "error"]
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 1.5e6


@pytest.mark.parametrize("name", NAMES)
def test_they_define_no_functions(name: str) -> None:
    tree = ast.parse((ROOT / "notebooks" / f"{name}.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)]

"""The committed notebooks are whole: both halves agree, outputs are there, and no function is defined in them."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import jupytext
import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("01_data", "02_training", "03_analysis")


def pictures_in(notebook: Any) -> int:
    """How many pictures its cells displayed."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


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

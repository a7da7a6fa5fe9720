"""The rules of the house: imports go down only, functions stay short, the packages named in three
places agree.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAYERS = [
    ["birds.core"],
    ["birds.data", "birds.encoders", "birds.metrics", "analysis"],
    ["birds.methods"],
    ["birds.train", "birds.use", "birds.launch", "birds.cli"],
    ["birds.__main__", "hydra_plugins", "train"],
]
ANYWHERE = {
    "birds",
    "birds.core.errors",
}  # the border: may be imported from every layer, imports only words
LONGEST = 56  # lines of a function
ONLY_IN = {
    "wandb": {"birds.train.tracking", "birds.use.wandb_sync.log", "birds.use.wandb_sync.send"},
    "wandb_workspaces": {"birds.use.wandb_sync.views"},
    "submitit": {"birds.launch.slurm.submit"},
    "hydra": {
        "birds.launch.launcher",
        "birds.core.errors",
        "birds.launch.hydra_compose",
        "birds.launch.slurm.doctor",
    },
}
TORCH_FREE = [
    "birds.launch.plan",
    "birds.launch.progress",
    "birds.cli",
    "birds.launch.launcher",
    "birds.launch.local_workers",
    "birds.launch.conduct",
    "analysis.tables",
    "analysis.dashboard.watch",
    "analysis.figures",
    "birds.data.check",
    "birds.use.predict",
    "birds.cli.quantize",
    "birds.use.quantize.models",
    "birds.use.quantize.predict",
    "birds.cli.latency",
    "birds.cli.latent",
    "analysis.latency",
    "birds.launch.look_after",
    "birds.launch.slurm.status",
    "birds.launch.slurm.worker",
    "birds.launch.search",
]


def modules() -> dict[str, Path]:
    found = {"train": ROOT / "train.py"}
    for package in ("birds", "analysis", "hydra_plugins"):
        for file in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = file
    return found


def imports_of(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def layer(name: str) -> int | None:
    for number, members in enumerate(LAYERS):
        if any(name == member or name.startswith(member + ".") for member in members):
            return number
    return None


def part(name: str) -> str:
    return ".".join(name.split(".")[:2]) if name.startswith("birds.") else name.split(".")[0]


@pytest.mark.parametrize("name", [name for name in modules() if name not in ANYWHERE])
def test_imports_go_down_only(name: str) -> None:
    own = layer(name)
    assert own is not None, f"{name} stands in no layer"
    for imported in imports_of(modules()[name]):
        if imported in ANYWHERE or layer(imported) is None or part(imported) == part(name):
            continue
        target = layer(imported)
        assert target is not None
        assert target <= own, f"{name} imports {imported} from a higher layer"
        siblings = own == 1 and target == 1
        assert not siblings, f"{name} imports its sibling {imported}"


@pytest.mark.parametrize(("package", "allowed"), ONLY_IN.items())
def test_a_service_is_known_in_one_place(package: str, allowed: set[str]) -> None:
    users = {
        name
        for name, file in modules().items()
        if any(i.split(".")[0] == package for i in imports_of(file))
    }
    assert users - {"train", "hydra_plugins.staged"} <= allowed


@pytest.mark.parametrize("name", TORCH_FREE)
def test_imports_neither_torch_nor_wandb(name: str) -> None:
    code = (
        f"import sys, {name}; sys.exit(bool({{'torch', 'lightning', 'wandb'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("name", modules())
def test_functions_are_short_and_public_ones_documented(name: str) -> None:
    tree = ast.parse(modules()[name].read_text())
    assert ast.get_docstring(tree), f"{name} does not open with its idea"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST, f"{name}.{node.name} is too long"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name}.{node.name} says nothing of itself"


def plain(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement.strip())[0].lower().replace("_", "-")


def test_pyproject_constraints_and_environment_name_the_same_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["dev"]
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(
        line.split("==") for line in constraints if "==" in line and not line.startswith("#")
    )
    names = {plain(name): version for name, version in pinned.items()}
    assert {plain(r) for r in needed} <= set(names), (
        "a requirement has no tested version in constraints.txt"
    )

    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert {"pip": ["-c constraints.txt", "-e .[dev]"]} in environment
    conda_python = next(entry for entry in environment if str(entry).startswith("python"))
    assert conda_python.replace("python", "", 1) == project["requires-python"]


def test_tested_versions_lie_inside_the_ranges() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and line[0] != "#"
    )
    versions = {plain(name): version for name, version in pinned.items()}
    for text in project["dependencies"] + project["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        version = versions[plain(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{text} does not admit {version}"
        )


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"\.PHONY: (.*)", text)[1].split())  # type: ignore[index]
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {line.split()[0] for line in shown.splitlines()} == targets


def test_every_test_file_has_a_name_of_its_own() -> None:
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert {name for name in names if names.count(name) > 1} == set(), (
        "pytest imports test files by their bare names"
    )

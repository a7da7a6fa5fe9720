"""The rules of this code: imports only go down and have no circles; functions, modules and lines
are short; three lists of packages agree.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAYERS = [
    ["birds.core"],
    ["birds.data", "birds.encoders", "birds.metrics", "analysis"],
    ["birds.methods"],
    ["birds.train"],
    ["birds.use", "birds.launch"],
    ["birds.cli"],
    ["birds.__main__", "hydra_plugins", "train"],
]
PACKAGES = ("birds", "analysis", "hydra_plugins")
ANYWHERE = {"birds"}  # it only holds the version
LONGEST_FUNCTION = 40  # lines
LONGEST_MODULE = 300  # lines
LONGEST_LINE = 100  # characters
LONGER_LINES = 50  # upper limit on longer lines in all Python files
NESTED = 1  # upper limit on nested comprehensions in birds and analysis
IN_BIRDS = 6  # most modules directly in a folder
ANALYSIS_FROM = ("birds.cli", "hydra_plugins", "train")  # these may import analysis
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
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
NOT_FOR = {  # slow packages that a start of these does not need
    "birds.cli": {"numpy", "pandas", "scipy", "PIL", "matplotlib", "rich"},
    "analysis.answer": {"PIL", "matplotlib", "scipy.stats", "sklearn"},
    "analysis.dashboard.page": {"matplotlib", "scipy.stats", "sklearn"},
    "analysis.figures": {"scipy.stats", "sklearn"},
}


def modules() -> dict[str, Path]:
    """Every module of the project by its name."""
    return modules_in(ROOT)


@lru_cache
def modules_in(root: Path) -> dict[str, Path]:
    found = {"train": root / "train.py"}
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            name = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            found[name] = file
    return found


@lru_cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def tree_of(name: str) -> ast.Module:
    return parsed(modules()[name])


def imported(node: ast.AST) -> set[str]:
    """The modules that a statement imports; `from a import b` may also mean the module a.b."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module:
        return {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return set()


def imports_of(name: str) -> set[str]:
    """All modules that a module imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(tree_of(name)):
        names |= imported(node)
    return names


def own_imports(name: str) -> set[str]:
    """The project's modules that this one imports, at its top or inside a function."""
    return {own for own in imports_of(name) if own in modules() and own != name}


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
    for other in imports_of(name) & set(modules()):
        target = layer(other)
        if other in ANYWHERE or target is None or part(other) == part(name):
            continue
        assert target <= own, f"{name} imports {other} from a higher layer"


def test_analysis_reads_the_core_alone() -> None:
    users = {}
    for name in modules():
        if name.split(".")[0] == "analysis":
            others = {other for other in imports_of(name) & set(modules()) if "birds" in other}
            users[name] = {o for o in others if o not in ANYWHERE and part(o) != "birds.core"}
    assert {name: others for name, others in users.items() if others} == {}


def test_nothing_below_the_command_line_knows_the_analysis() -> None:
    users = set()
    for name in modules():
        below = name.split(".")[0] == "birds" and part(name) not in ANALYSIS_FROM
        if below and any(other.split(".")[0] == "analysis" for other in imports_of(name)):
            users.add(name)
    assert users == set()


def circles() -> list[list[str]]:
    """The sets of modules that import one another, at their top or inside a function."""
    graph = {name: sorted(own_imports(name)) for name in modules()}
    reached = {name: reachable(graph, name) for name in graph}
    found = set()
    for name, others in reached.items():
        if name in others:
            found.add(tuple(sorted(other for other in others if name in reached[other])))
    return sorted(list(circle) for circle in found)


def reachable(graph: dict[str, list[str]], start: str) -> set[str]:
    """All modules that are imported directly or indirectly by this one."""
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen


def long_modules() -> dict[str, int]:
    lengths = {name: len(file.read_text().splitlines()) for name, file in modules().items()}
    return {name: length for name, length in lengths.items() if length > LONGEST_MODULE}


def long_functions() -> dict[str, int]:
    found = {}
    for name in modules():
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    found[f"{name}.{node.name}"] = length
    return found


def nested_comprehensions() -> dict[str, int]:
    """How many comprehensions are inside another one, for each module of birds and analysis."""
    found: dict[str, int] = {}
    for name in modules():
        if name.split(".")[0] not in ("birds", "analysis"):
            continue
        inner: set[ast.AST] = set()
        for node in ast.walk(tree_of(name)):
            if isinstance(node, COMPREHENSIONS):
                inner |= {own for own in ast.walk(node) if isinstance(own, COMPREHENSIONS)} - {node}
        if inner:
            found[name] = len(inner)
    return found


def long_lines() -> dict[str, int]:
    """Lines that are too long, in every Python file that belongs to the project."""
    files = [*modules().values()]
    for folder in ("tests", "bench", "slurm"):
        files += sorted((ROOT / folder).rglob("*.py"))
    found = {}
    for file in files:
        count = sum(len(line) > LONGEST_LINE for line in file.read_text().splitlines())
        if count:
            found[str(file.relative_to(ROOT))] = count
    return found


def in_birds() -> list[str]:
    return sorted(file.name for file in (ROOT / "birds").glob("*.py"))


FIGURES: dict[str, tuple[Callable[[], Any], Callable[[Any], int], int]] = {
    f"modules over {LONGEST_MODULE} lines": (long_modules, len, 0),
    "circles between modules": (circles, len, 0),
    "nested comprehensions in birds and analysis": (
        nested_comprehensions,
        lambda found: sum(found.values()),
        NESTED - 1,
    ),
    f"lines over {LONGEST_LINE} characters": (
        long_lines,
        lambda found: sum(found.values()),
        LONGER_LINES - 1,
    ),
    "modules directly in birds/": (in_birds, len, IN_BIRDS),
    f"functions over {LONGEST_FUNCTION} lines": (long_functions, len, 0),
}


@pytest.mark.parametrize("figure", FIGURES)
def test_the_figures_of_the_house(figure: str, capsys: pytest.CaptureFixture[str]) -> None:
    find, count, most = FIGURES[figure]
    found = find()
    with capsys.disabled():
        print(f"\n{figure}: {count(found)} (at most {most})")
    assert count(found) <= most, found


def test_the_figures_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check finds two test modules that import each other, one of them with long and dense
    code.
    """
    dense = [
        "import birds.second",
        "x = [[b for b in range(a)] for a in range(9)]",
        "def f():",
        *["    y = 1"] * 41,
        f"z = '{'.' * 100}'",
        *["w = 1"] * 300,
    ]
    second = [
        "from typing import TYPE_CHECKING",
        "from birds import first",
        "if TYPE_CHECKING:",
        "    import birds.third",
        "def later():",
        "    import birds.third",
    ]
    texts = {"first": dense, "second": second, "third": ["import birds.second"]}
    (tmp_path / "birds").mkdir()
    for name, lines in texts.items():
        (tmp_path / "birds" / f"{name}.py").write_text("\n".join(lines))
    (tmp_path / "train.py").write_text("")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert circles() == [["birds.first", "birds.second", "birds.third"]]
    assert nested_comprehensions() == {"birds.first": 1}
    assert long_modules() == {"birds.first": len(dense)}
    assert long_functions() == {"birds.first.f": 42}
    assert long_lines() == {"birds/first.py": 1}
    assert in_birds() == ["first.py", "second.py", "third.py"]


@pytest.mark.parametrize(("package", "allowed"), ONLY_IN.items())
def test_a_service_is_known_in_one_place(package: str, allowed: set[str]) -> None:
    users = {
        name
        for name in modules()
        if any(other.split(".")[0] == package for other in imports_of(name))
    }
    assert users - {"train", "hydra_plugins.staged"} <= allowed


@pytest.mark.parametrize("name", TORCH_FREE)
def test_imports_neither_torch_nor_wandb(name: str) -> None:
    code = (
        f"import sys, {name}; sys.exit(bool({{'torch', 'lightning', 'wandb'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(("name", "slow"), NOT_FOR.items())
def test_a_command_does_not_wait_for_a_package_that_it_does_not_use(
    name: str, slow: set[str]
) -> None:
    code = f"import sys, {name}; print(sorted({slow!r} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", modules())
def test_modules_open_with_their_idea_and_public_names_are_documented(name: str) -> None:
    tree = tree_of(name)
    assert ast.get_docstring(tree), f"{name} does not open with its idea"
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
    targets = set(re.findall(r"^([a-z0-9-]+):", text, re.MULTILINE))
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = [line.split()[0] for line in shown.splitlines() if line.startswith("  ")]
    assert sorted(listed) == sorted(targets)


def test_every_test_file_has_a_name_of_its_own() -> None:
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert {name for name in names if names.count(name) > 1} == set(), (
        "pytest imports test files by their bare names"
    )


def test_no_test_module_imports_another() -> None:
    """Code that several tests need is in a module without tests."""
    names = {file.stem for file in (ROOT / "tests").rglob("test_*.py")}
    users = {}
    for file in sorted((ROOT / "tests").rglob("*.py")):
        others: set[str] = set()
        for node in ast.walk(parsed(file)):
            others |= {other.split(".")[-1] for other in imported(node)} & names
            others |= {other.split(".")[-2] for other in imported(node) if "." in other} & names
        if others:
            users[file.name] = others
    assert users == {}

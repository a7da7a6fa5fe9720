"""The folder of configurations, sweeps, cluster profiles and train.py: the project's folder, or
their copies in an installed wheel.
"""

import os
import shlex
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
RUNS = Path("runs")  # the folder of runs that commands take unless told otherwise


def birds_on(runs_dir: Path) -> str:
    """The beginning of a `birds` command on a folder of runs, to be copied from a message."""
    if runs_dir.resolve() == RUNS.resolve():
        return "birds"
    return f"birds --runs-dir {shlex.quote(str(runs_dir))}"


def install(extra: str) -> str:
    """The command that installs one of the extras, for a message: from a checkout or a wheel."""
    if own_home() == PACKAGE.parent:
        return f"pip install -e '.[{extra}]' in {PACKAGE.parent}"
    return f"pip install 'birds-sweeps[{extra}]'"


def homes() -> tuple[Path, ...]:
    """The folders that may hold `configs` and `sweeps`: BIRDS_HOME, and the project's own."""
    own = own_home()
    asked = os.environ.get("BIRDS_HOME")
    return (Path(asked), own) if asked else (own,)


def own_home() -> Path:
    """The folder of the project, or `birds/home` in a wheel."""
    project = PACKAGE.parent
    return project if (project / "configs" / "config.yaml").is_file() else PACKAGE / "home"

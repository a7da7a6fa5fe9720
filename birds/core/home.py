"""The folder of configurations, sweeps, cluster profiles and train.py: the project's folder, or
their copies in an installed wheel.
"""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def homes() -> tuple[Path, ...]:
    """The folders that may hold `configs` and `sweeps`: BIRDS_HOME, and the project's own."""
    own = own_home()
    asked = os.environ.get("BIRDS_HOME")
    return (Path(asked), own) if asked else (own,)


def own_home() -> Path:
    """The folder of the project, or `birds/home` in a wheel."""
    project = PACKAGE.parent
    return project if (project / "configs" / "config.yaml").is_file() else PACKAGE / "home"

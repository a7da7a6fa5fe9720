"""What a finished run leaves: one flat row of identity, choices, metrics, cost and provenance.

Everything downstream (tables, figures, report) reads these rows and nothing else. Columns: `key`,
`family`, `stage`, `recipe`, then `choice.*` (the spec, flattened), `test_*` and `valid_*`
(metrics), `cost_*`, and provenance.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from birds.core.errors import dotted
from birds.core.spec import RECIPE, RunSpec, UserError

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = (
    "torch",
    "lightning",
    "torchmetrics",
    "numpy",
    "pillow",
    "hydra-core",
    "submitit",
    "wandb",
)


class Record(BaseModel, frozen=True, extra="allow"):
    """One row. The named columns are always there; metrics, costs and choices come beside them."""

    recipe: int
    key: str
    family: str
    stage: str
    variant: str
    split: int
    seed: int
    data_digest: str
    split_digest: str
    data_name: str
    git_sha: str
    git_dirty: bool

    def to_json(self) -> str:
        """The record as one JSON object, an entry a line."""
        return json.dumps(self.model_dump(mode="json"), indent=0)

    def value(self, column: str) -> Any:
        """The value of any column, metrics included. Raises KeyError when the row has none."""
        return self.model_dump()[column]


def make_record(spec: RunSpec, split_digest: str, measured: Mapping[str, Any]) -> Record:
    """The row of a finished run from its spec and what was measured (`test_*`, `valid_*`, `cost_*`,
    counts).
    """
    return Record.model_validate(
        {
            "recipe": RECIPE,
            **{name: getattr(spec, name) for name in ("key", "family", "stage", "split", "seed")},
            "variant": spec.variant,
            "data_digest": spec.data.digest,
            "split_digest": split_digest,
            "data_name": spec.data.name,
            "needs_keys": [needed.key for needed in spec.needs],
            "epochs_asked": spec.epochs,
            **dict(_choices(spec)),
            **measured,
            **_code_version(),
            "package_versions": package_versions(PACKAGES),
            "python_version": sys.version.split()[0],
        }
    )


def _choices(spec: RunSpec) -> Iterator[tuple[str, Any]]:
    """Every choice of a run as a column: `choice.split`, `choice.encoder.options.stem`.

    The run that it needs is `choice.needs`; where it needs several, the first.
    """
    values = spec.model_dump(mode="json")
    needs = values.pop("needs")
    if needs:
        values["needs"] = _first_of_needs(needs)
    for name, value in dotted(values, "choice"):
        if not isinstance(value, dict):
            yield name, value


def _first_of_needs(needs: list[dict[str, Any]]) -> dict[str, Any]:
    first = dict(needs[0])
    deeper = first.pop("needs")
    if deeper:
        first["needs"] = _first_of_needs(deeper)
    return first


@lru_cache
def _code_version() -> dict[str, Any]:
    """The git commit of the code that runs, and whether it was changed since: true where git could
    not tell.
    """
    sha = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "-uno")
    return {"git_sha": sha or "unknown", "git_dirty": not sha or changes is None or changes != ""}


def _git(*words: str) -> str | None:
    """What git prints about the code that runs; None where git is missing or refuses to tell."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """The installed version of each package that is installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def read_record(path: Path, key: str) -> Record | None:
    """The record at `path`, or None when there is none or it was cut short.

    Raises UserError when it stands under another run's key or comes from another recipe.
    """
    try:
        record = Record.model_validate(json.loads(path.read_text()))
    except (OSError, ValueError, ValidationError):
        return None
    if record.recipe != RECIPE or record.key != key:
        what = f"of recipe {record.recipe}" if record.recipe != RECIPE else f"of run {record.key}"
        raise UserError(
            f"{path} is a record {what}, not of run {key} in recipe {RECIPE}: "
            "move that folder away or choose another runs_dir="
        )
    return record


def load_records(runs_dir: Path, keys: list[str] | None = None) -> "pd.DataFrame":
    """All finished runs under `runs_dir` as a frame, one row each, sorted by key; `keys` keeps
    those runs only.

    Records cut short are left out (their runs count as unfinished); so are those of another recipe,
    with a warning.
    """
    import warnings

    import pandas as pd

    wanted = (
        keys if keys is not None else sorted(p.parent.name for p in runs_dir.glob("*/record.json"))
    )
    rows = []
    for key in wanted:
        try:
            record = read_record(runs_dir / key / "record.json", key)
        except UserError as refusal:
            warnings.warn(str(refusal), stacklevel=2)
            continue
        if record is not None:
            rows.append(record.model_dump())
    return pd.DataFrame(rows)

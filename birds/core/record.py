"""The record of a finished run: one flat row of identity, choices, metrics, cost and provenance.

Tables, figures and the report read only these rows. The columns are `key`, `family`, `stage`,
`recipe`, then `choice.*` (the flattened spec), `test_*` and `valid_*` (metrics), `cost_*`, and
provenance.
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
    """One row. These columns always exist; metrics, costs and choices are further columns."""

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
        """The record as one JSON object, one entry per line."""
        return json.dumps(self.model_dump(mode="json"), indent=0)

    def value(self, column: str) -> Any:
        """The value of any column. Raises KeyError if the row lacks the column."""
        return self.model_dump()[column]


def make_record(spec: RunSpec, split_digest: str, measured: Mapping[str, Any]) -> Record:
    """The row of a finished run, from its spec and its measurements (`test_*`, `valid_*`, `cost_*`,
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
    """Every choice of a run as a column, such as `choice.encoder.options.stem`.

    The needed run is `choice.needs`; of several, the first is used.
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
    """The git commit of the running code, and whether files have changed since (true if
    unknown).
    """
    sha = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "-uno")
    return {"git_sha": sha or "unknown", "git_dirty": not sha or changes is None or changes != ""}


def _git(*words: str) -> str | None:
    """The output of a git command in this code's repository; None if git fails."""
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
    """The record at `path`, or None if it is missing or incomplete.

    Raises UserError if it belongs to another run or another recipe.
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
    """The records of all finished runs, or of the runs in `keys`: a frame sorted by key.

    Incomplete records are left out; their runs count as unfinished. Records of another recipe are
    left out with a warning.
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

"""Remembers the specs of planned configurations, so that planning them again needs no torch.

The options of encoders, methods and heads are in modules that import torch, which takes seconds.
The spec of a configuration is therefore saved in `cache_dir/plans-STAMP.jsonl`, one line for each
configuration. The stamp is a hash of the code and the installed packages, so any change starts an
empty file. Saved specs have no seed and no digests; these are filled in when a spec is used. Only
accepted specs are saved, and none that names a part or a file outside the project.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import birds
from birds.core.files import PREFIX
from birds.core.spec import RunSpec

DATA, POOL = "data-digest", "pool-digest"  # placeholders for digests that are not known yet
NEVER_READ = (  # keys that do not change a spec: where and how runs run
    "seed",
    "runs_dir",
    "cache_dir",
    "device",
    "precision",
    "threads",
    "compile",
    "features",
    "encode",
    "robustness_images",
    "slots",
    "dry_run",
    "sweep",
    "launch",
    "search",
    "slurm",
    "tracking",
)
KEPT_FILES = 4

Compose = Callable[[Mapping[str, Any], str, str], RunSpec]


class Memo:
    """Drafts of specs by configuration, in a file to which several processes may append.

    Args:
        cache_dir: the folder of the file; it may be missing until something is saved.
        stamp: a hash of the code that makes specs from configurations.
    """

    def __init__(self, cache_dir: Path, stamp: str) -> None:
        self._file = cache_dir / f"plans-{stamp}.jsonl"
        self._drafts = dict(_lines(self._file))

    def draft(self, config: Mapping[str, Any], compose: Compose) -> "Draft":
        """The draft of a configuration, remembered or composed. Raises what `compose` raises.

        Args:
            config: the resolved configuration as plain containers.
            compose: makes a spec from a configuration and the digests of data and pool.
        """
        name = _name_of(config)
        known = self._drafts.get(name)
        seed = config["seed"]
        if known is not None:
            try:
                remembered = RunSpec.model_validate(_filled(known, {"seed": seed}))
                return Draft(remembered.model_dump(mode="json"), name, new=False)
            except ValidationError:  # composing says what is wrong with it
                pass
        return Draft(compose(config, DATA, POOL).model_dump(mode="json"), name, new=True)

    def keep(self, draft: "Draft") -> None:
        """Save a draft that was just composed; the cache folder must exist."""
        if not draft.new or draft.name in self._drafts or _from_outside(draft.values):
            return
        _forget_oldest(self._file)
        self._drafts[draft.name] = draft.values
        line = json.dumps([draft.name, draft.values], separators=(",", ":"))
        with contextlib.suppress(OSError), self._file.open("a") as file:
            file.write(line + "\n")  # a single write: other processes may append at the same time


class Draft:
    """A spec whose digests are not known yet."""

    def __init__(self, values: dict[str, Any], name: str, *, new: bool) -> None:
        self.values = values
        self.name = name
        self.new = new

    def spec(
        self, data_digest: str, pool_digest: str, classes: int | None = None, **fields: Any
    ) -> RunSpec:
        """The spec with the digests of its images and of its pool filled in.

        `classes` replaces `data.classes=null` (all). `fields` are choices that were not known
        before, such as the default split.
        """
        digests = {DATA: data_digest, POOL: pool_digest}
        return RunSpec.model_validate(_filled(self.values, fields, digests, classes))


def memo_in(cache_dir: Path) -> Memo:
    """The memo of a cache folder for the present code; read once per process."""
    return _memo(cache_dir, code_stamp(Path(birds.__file__).parent))


@lru_cache(maxsize=4)
def _memo(cache_dir: Path, stamp: str) -> Memo:
    return Memo(cache_dir, stamp)


@lru_cache(maxsize=4)
def code_stamp(package: Path) -> str:
    """Twelve hex digits: a hash of a package's Python files and of the installed packages.

    Of each file, the path, the size and the time of the last change are hashed.
    """
    digest = hashlib.sha256(sys.version.encode())
    for file in sorted(package.rglob("*.py")):
        found = file.stat()
        place = file.relative_to(package)
        digest.update(f"{place} {found.st_size} {found.st_mtime_ns}\n".encode())
    for name in sorted(_installed()):
        digest.update(f"{name}\n".encode())
    return digest.hexdigest()[:12]


def _installed() -> set[str]:
    """Names and versions of the installed packages, from the names of their folders."""
    found = set()
    for distribution in importlib.metadata.distributions():
        place = getattr(distribution, "_path", None)
        found.add(str(place) if place else distribution.metadata["Name"])
    return found


def _name_of(config: Mapping[str, Any]) -> str:
    read = {name: value for name, value in config.items() if name not in NEVER_READ}
    text = json.dumps(read, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _filled(
    values: Mapping[str, Any],
    fields: Mapping[str, Any],
    digests: Mapping[str, str] | None = None,
    classes: int | None = None,
) -> dict[str, Any]:
    """A dumped spec with new field values, with digests instead of placeholders, and with the
    number of classes where all were asked for.

    All of this also applies to the runs that it needs.
    """
    filled = {**values, **fields}
    for name in ("data", "pool"):
        digest = values[name]["digest"]
        if digests and digest in digests:
            filled[name] = {**values[name], "digest": digests[digest]}
    if values["data"]["classes"] is None:
        filled["data"] = {**filled["data"], "classes": classes}
    needs = values["needs"]
    filled["needs"] = [_filled(needed, fields, digests, classes) for needed in needs]
    return filled


def _from_outside(value: Any) -> bool:
    """Whether a dumped spec names something outside the stamp: a part `package.module:Class`, or a
    file by its SHA-256.
    """
    if isinstance(value, str):
        return value.startswith(PREFIX)
    if isinstance(value, Mapping):
        outside = ":" in str(value.get("part", ""))
        return outside or any(_from_outside(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_from_outside(inner) for inner in value)
    return False


def _lines(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """The drafts in a file, without lines that are incomplete."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for line in lines:
        try:
            name, values = json.loads(line)
        except ValueError:
            continue
        found.append((name, values))
    return found


def _forget_oldest(own: Path) -> None:
    """Remove the oldest files and keep a few of the newest."""
    if own.exists():
        return
    others = sorted(own.parent.glob("plans-*.jsonl"), key=lambda file: file.stat().st_mtime)
    for file in others[: -(KEPT_FILES - 1)]:
        file.unlink(missing_ok=True)

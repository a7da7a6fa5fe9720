"""Sending what was tracked offline, by W&B's own client, so that no run is lost and none is doubled.

Each run goes up as one log of all its attempts (`birds/tracked/log.py`), pretraining first. W&B's client calls a run
sent even where the upload failed, and appends all of it to what was there, so W&B is asked before and after what it
holds: only the rest is sent, and only a whole run is written down as sent, in `runs/wandb/sent.json`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import requests
import wandb
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from birds.spec import Refused
from birds.store import RunFolder, is_locked, locked, write_text
from birds.tracked.log import joined, names_in, read_log, without, write_log

BATCH = 25  # runs that one call of W&B's client sends: it takes two seconds to start
ORDER = ("pretrain", "classify", "table")
HELD = """query BirdsHeld($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) { bucket(name: $name, missingOk: true) {
    state historyLineCount files(first: 1000) { edges { node { name sizeBytes } } } } } }"""


@dataclass(frozen=True)
class Account:
    """Who sends, and whereto; `project` is None for the one that each run names."""

    url: str
    key: str
    entity: str = ""
    project: str | None = None

    def ask(self, query: str, **given: Any) -> Any:
        """The answer to a GraphQL query; waits where W&B says so. Raises Refused when there is none."""
        retry = Retry(
            8, connect=1, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None
        )
        try:
            with requests.Session() as session:
                session.mount(self.url, HTTPAdapter(max_retries=retry))
                body: dict[str, Any] = {"query": query, "variables": given}
                answer = session.post(f"{self.url}/graphql", json=body, auth=("api", self.key), timeout=30)
        except requests.RequestException as error:
            raise Refused(
                f"cannot reach W&B at {self.url} ({type(error).__name__}): nothing is lost, ask again later"
            ) from None
        data = answer.json()["data"] if answer.ok else {}
        if not answer.ok or data.get("viewer", True) is None:
            raise Refused(f"{self.url} does not accept the W&B key: wandb login --relogin")
        return data


def log_in(entity: str | None, project: str | None) -> Account | None:
    """The account that W&B's settings name, None without a key. Raises Refused when W&B does not answer."""
    settings = wandb.setup().settings
    url = settings.base_url.rstrip("/")
    key = settings.api_key or (requests.utils.get_netrc_auth(url) or ("", ""))[1]
    if not key:
        return None
    viewer = Account(url, key).ask("query Viewer { viewer { entity } }")["viewer"]
    return Account(url, key, entity or settings.entity or viewer["entity"], project)


@dataclass(frozen=True)
class Tracked:
    """A run that was tracked offline: the logs of its attempts, the oldest first."""

    name: str
    attempts: tuple[Path, ...]
    stage: str
    project: str
    title: str

    @property
    def turn(self) -> tuple[int, str]:
        """Where it stands in the order of sending."""
        return ORDER.index(self.stage) if self.stage in ORDER else len(ORDER), self.attempts[0].parent.name


def tracked_runs(runs_dir: Path, keys: Collection[str] | None) -> list[Tracked]:
    """The runs that were tracked offline, in the order in which they are sent; `keys` keeps those runs only."""
    found: dict[str, list[Path]] = {}
    logs = [
        path for where in ("*/tracking", "tracking") for path in runs_dir.glob(f"{where}/wandb/offline-run-*/*.wandb")
    ]
    for path in sorted(logs, key=lambda path: path.parent.name):
        name = path.stem.removeprefix("run-")
        if keys is None or name in keys:
            found.setdefault(name, []).append(path)
    return sorted((_tracked(name, attempts) for name, attempts in found.items()), key=lambda run: run.turn)


def _tracked(name: str, attempts: Sequence[Path]) -> Tracked:
    for record in (record for path in attempts for record in read_log(path)):
        if record.HasField("run"):
            run = record.run
            return Tracked(name, tuple(attempts), run.job_type, run.project, run.display_name)
    return Tracked(name, tuple(attempts), "", "", "")


def logged_names(runs: Sequence[Tracked]) -> dict[str, set[str]]:
    """The names of all that the runs of each stage logged."""
    names: dict[str, set[str]] = {}
    for run in runs:
        names.setdefault(run.stage, set()).update(*(names_in(read_log(path)) for path in run.attempts))
    return names


def send(
    runs_dir: Path, runs: Sequence[Tracked], account: Account, say: Callable[[str], object]
) -> Iterator[tuple[Tracked, str]]:
    """Send the runs that are not yet there; yields each with what came of it. Another sender is waited for."""
    folder = runs_dir / "wandb"
    sent: dict[str, Any] = {}
    with locked(folder / "lock", lambda: say("another one is sending: waiting for it")) as lock:
        with contextlib.suppress(OSError, ValueError):
            sent = json.loads((folder / "sent.json").read_text())
        todo = []
        for run in runs:
            address, contents = _address(run, account), _contents(run)
            if sent.get(address) == contents:
                yield run, "already there"
            elif is_locked(RunFolder(runs_dir, run.name).lock_file):
                yield run, "still running"
            else:
                todo.append(run)
        for stage, those in groupby(todo, key=lambda run: run.stage):
            same = list(those)
            for start in range(0, len(same), BATCH):
                say(f"{stage} {start + 1} to {min(start + BATCH, len(same))} of {len(same)}")
                for run, what in _send_batch(folder / "outbox", same[start : start + BATCH], account, lock.fileno()):
                    if not what.startswith("failed"):
                        sent[_address(run, account)] = _contents(run)
                        write_text(folder / "sent.json", json.dumps(sent, indent=0))
                    yield run, what


def _address(run: Tracked, account: Account) -> str:
    return f"{account.url}/{account.entity}/{account.project or run.project}/{run.name}"


def _contents(run: Tracked) -> dict[str, int]:
    return {path.parent.name: path.stat().st_size for path in run.attempts}


def _send_batch(outbox: Path, runs: Sequence[Tracked], account: Account, lock: int) -> Iterator[tuple[Tracked, str]]:
    """Have W&B's client send what W&B lacks of these runs; yields each with what came of it."""
    shutil.rmtree(outbox, ignore_errors=True)
    wholes: dict[Tracked, tuple[int, dict[str, int]]] = {}
    for run in runs:
        records = joined([read_log(path) for path in run.attempts])
        wholes[run] = len([record for record in records if record.HasField("history")]), _media(run)
        held = _held(run, account)
        if not records or not _lacking(held, *wholes[run]):
            del wholes[run]
            yield run, "already there" if records else f"failed: its log is damaged from the start, {run.attempts[-1]}"
        else:
            _pack(outbox / run.attempts[0].parent.name, run, without(records, held.get("historyLineCount") or 0))
    said = _call_client([str(folder.resolve()) for folder in sorted(outbox.glob("*"))], account, lock) if wholes else []
    for run, whole in wholes.items():
        for wait in (0, 1, 3):  # W&B may need a moment to show what it got
            time.sleep(wait)
            if not (lacking := _lacking(_held(run, account), *whole)):
                break
        told = [line for line in said if run.name in line and "rror" in line]
        yield run, " ".join([f"failed: {lacking}", *told[-1:]]) if lacking else "uploaded"
    shutil.rmtree(outbox, ignore_errors=True)


def _media(run: Tracked) -> dict[str, int]:
    """The sizes of the pictures and tables of a run, by their names on W&B."""
    folders = [path.parent / "files" for path in run.attempts]
    return {str(p.relative_to(f)): p.stat().st_size for f in folders for p in f.glob("media/**/*") if p.is_file()}


def _held(run: Tracked, account: Account) -> dict[str, Any]:
    """What W&B holds of a run; empty when it knows no such run."""
    project = account.project or run.project
    return ((account.ask(HELD, project=project, entity=account.entity, name=run.name)["model"]) or {}).get(
        "bucket"
    ) or {}


def _lacking(held: Mapping[str, Any], points: int, media: Mapping[str, int]) -> str:
    """What W&B lacks of a run, in words; empty when it holds all."""
    if not held:
        return "W&B knows no such run."
    files = {edge["node"]["name"]: edge["node"]["sizeBytes"] for edge in held["files"]["edges"]}
    lost = [name for name, size in media.items() if files.get(name) != size]
    if held["historyLineCount"] == points and not lost and held["state"] != "running":
        return ""
    return f"W&B has {held['historyLineCount']} of {points} points, lacks {len(lost)} of {len(media)} files."


def _pack(folder: Path, run: Tracked, records: Sequence[Any]) -> None:
    """One folder for W&B's client: these records, and the files of all attempts."""
    folder.mkdir(parents=True)
    for path in run.attempts:
        if (path.parent / "files").is_dir():
            shutil.copytree(path.parent / "files", folder / "files", dirs_exist_ok=True)
    (folder / run.attempts[0].name).write_bytes(write_log(records))


def _call_client(folders: Sequence[str], account: Account, lock: int) -> list[str]:
    """The lines that W&B's client said. It holds our lock, too, so that one that outlives us is waited for."""
    options = ["--entity", account.entity, *(["--project", account.project] if account.project else [])]
    known = {"WANDB_BASE_URL": account.url, "WANDB_API_KEY": account.key}
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *options, *folders],
        cwd=Path(folders[0]).parent,  # it leaves logs of its own there
        env=os.environ | known,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=(lock,),
        check=False,
    )
    return done.stdout.splitlines()

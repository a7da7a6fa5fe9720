"""Sends offline runs with W&B's own client, so that no run is lost or sent twice.

Each run is sent as one log of all its attempts (`birds/use/wandb_sync/log.py`), pretraining first.
W&B's client reports success even if the upload failed, and it appends the whole log. So this module
asks W&B before and after which data it has, and sends only the rest. No other state is kept: after
an interruption the same command continues.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import requests
import wandb
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from birds.core.locks import is_locked, locked
from birds.core.spec import UserError
from birds.core.store import RunFolder
from birds.use.wandb_sync.log import joined, read_log, without, write_log

TURN = {"pretrain": 0, "classify": 1}  # all other stages come after these
HELD = """query Held($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) { bucket(name: $name, missingOk: true) {
    state historyLineCount files(first: 1000) { edges { node { name sizeBytes } } } } } }"""


@dataclass(frozen=True)
class Account:
    """The W&B account that sends, and its server.

    With `project` None, each run goes to the project that it names.
    """

    url: str
    key: str
    entity: str = ""
    project: str | None = None

    def ask(self, query: str, **given: Any) -> Any:
        """The answer to a GraphQL query; it waits if W&B asks for that.

        Raises UserError when there is no answer.
        """
        retry = Retry(
            8,
            connect=1,
            backoff_factor=0.5,
            status_forcelist=(429, 500, 502, 503),
            allowed_methods=None,
        )
        body: dict[str, Any] = {"query": query, "variables": given}
        try:
            with requests.Session() as session:
                session.mount(self.url, HTTPAdapter(max_retries=retry))
                answer = session.post(
                    f"{self.url}/graphql", json=body, auth=("api", self.key), timeout=30
                )
            data = answer.json()["data"] if answer.ok else {"viewer": None}
        except (requests.RequestException, KeyError) as error:
            raise UserError(
                f"cannot reach W&B at {self.url} ({type(error).__name__}): nothing is lost, try "
                "again later"
            ) from None
        if data.get("viewer", True) is None:
            raise UserError(f"{self.url} does not accept the W&B key: wandb login --relogin")
        return data


def log_in(entity: str | None, project: str | None) -> Account | None:
    """The account in W&B's settings; None without a key.

    Raises UserError when W&B does not answer.
    """
    settings = wandb.setup().settings
    url = settings.base_url.rstrip("/")
    key = settings.api_key or (requests.utils.get_netrc_auth(url) or ("", ""))[1]
    if not key:
        return None
    viewer = Account(url, key).ask("query Viewer { viewer { entity } }")["viewer"]
    return Account(url, key, entity or settings.entity or viewer["entity"], project)


@dataclass(frozen=True)
class Tracked:
    """A run that was tracked offline, with the logs of its attempts, oldest first.

    `stage` is empty if no log can be read.
    """

    name: str
    attempts: tuple[Path, ...]
    stage: str
    project: str


def tracked_runs(runs_dir: Path, keys: Collection[str] | None) -> list[Tracked]:
    """The runs that were tracked offline, in the order in which they are sent.

    With `keys`, only these runs.
    """
    logs: list[Path] = []
    for where in ("*/tracking", "tracking"):
        logs += runs_dir.glob(f"{where}/wandb/offline-run-*/*.wandb")
    attempts: dict[str, list[Path]] = {}
    for path in sorted(logs, key=lambda path: path.parent.name):
        attempts.setdefault(path.stem.removeprefix("run-"), []).append(path)
    names = attempts if keys is None else attempts.keys() & keys
    runs = [_tracked(name, attempts[name]) for name in names]
    return sorted(runs, key=lambda run: (TURN.get(run.stage, 2), run.attempts[0].parent.name))


def _tracked(name: str, attempts: Sequence[Path]) -> Tracked:
    for path in attempts:
        for record in read_log(path):
            if record.HasField("run"):
                return Tracked(name, tuple(attempts), record.run.job_type, record.run.project)
    return Tracked(name, tuple(attempts), "", "")


def send(
    runs_dir: Path, runs: Iterable[Tracked], account: Account, say: Callable[[str], Any]
) -> Iterator[list[str]]:
    """Send the missing data of the runs to W&B; yields key, result, and reason.

    If another process is sending, it waits for it.
    """
    folder = runs_dir.resolve() / "wandb"
    with locked(folder / "lock", lambda: say("another process is sending: waiting for it")) as lock:
        for stage, those in groupby(runs, lambda run: run.stage):
            say(f"sending {stage or 'unreadable'} runs")
            shutil.rmtree(folder / "outbox", ignore_errors=True)
            todo: dict[Tracked, int] = {}
            for run in those:
                if is_locked(RunFolder(runs_dir, run.name).lock_file):
                    yield [run.name, "still running"]
                elif not (records := joined([read_log(path) for path in run.attempts])):
                    yield [run.name, "failed", f"damaged from its start: {run.attempts[-1]}"]
                else:
                    points = sum(record.HasField("history") for record in records)
                    lacking, held = _lacking(run, points, account)
                    if lacking:
                        _pack(
                            folder / "outbox" / run.attempts[0].parent.name,
                            run,
                            write_log(without(records, held)),
                        )
                        todo[run] = points
                    else:
                        yield [run.name, "already there"]
            said = _call_client(folder / "outbox", account, lock.fileno()) if todo else []
            for run, points in todo.items():
                lacking, _ = _lacking(run, points, account, 1, 3)
                told = [line for line in said if run.name in line and "rror" in line][-1:]
                yield [run.name, "failed", lacking, *told] if lacking else [run.name, "uploaded"]


def _pack(folder: Path, run: Tracked, log: bytes) -> None:
    """Write one folder for W&B's client: this log, and the files of all attempts."""
    for path in run.attempts:
        shutil.copytree(path.parent / "files", folder / "files", dirs_exist_ok=True)
    (folder / run.attempts[0].name).write_bytes(log)


def _call_client(outbox: Path, account: Account, lock: int) -> list[str]:
    """Run W&B's client; returns the lines that it printed.

    The client holds our lock, too, so that others wait for it even if this process ends first.
    """
    options = [
        "--entity",
        account.entity,
        *(["--project", account.project] if account.project else []),
    ]
    command = [sys.executable, "-m", "wandb", "sync", *options, *map(str, sorted(outbox.iterdir()))]
    known = {
        name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"
    }  # the client starts its own service
    known |= {"WANDB_BASE_URL": account.url, "WANDB_API_KEY": account.key}
    out: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(
        command, cwd=outbox, env=known, pass_fds=(lock,), **out
    )  # the client writes its own logs into cwd
    return str(done.stdout).splitlines()


def _lacking(run: Tracked, points: int, account: Account, *waits: int) -> tuple[str, int]:
    """What W&B lacks of a run, in words, empty if nothing; and how many points W&B has.

    It asks again after each of `waits` (seconds), because W&B may need a moment to show new data.
    """
    given = {"project": account.project or run.project, "entity": account.entity, "name": run.name}
    media = _media(run)
    held = (account.ask(HELD, **given)["model"] or {}).get("bucket")
    files = (
        {(e["node"]["name"], e["node"]["sizeBytes"]) for e in held["files"]["edges"]}
        if held
        else set()
    )
    count = held["historyLineCount"] if held else 0
    if held and count == points and media <= files and held["state"] != "running":
        return "", count
    if waits:
        time.sleep(waits[0])
        return _lacking(run, points, account, *waits[1:])
    return (
        f"W&B has {count} of {points} points, lacks {len(media - files)} of {len(media)} files",
        count,
    )


def _media(run: Tracked) -> set[tuple[str, int]]:
    """The pictures that a run logged: their paths on W&B, and their sizes in bytes."""
    media = set()
    for attempt in run.attempts:
        files = attempt.parent / "files"
        for path in files.glob("media/**/*"):
            if path.is_file():
                media.add((str(path.relative_to(files)), path.stat().st_size))
    return media

"""`birds wandb sync` with W&B's real client and a local server: no run is lost or sent twice."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from composing import spec
from PIL import Image
from stand_in import KEY, StandIn

from birds.core.locks import locked
from birds.core.spec import RunSpec
from birds.core.store import RunFolder
from birds.core.sweep import Asked, Sweep, leave_specs, read_sweep, with_needs
from birds.train.tracking import Tracker
from birds.use.wandb_sync.log import joined, names_in, read_log, write_log
from birds.use.wandb_sync.send import tracked_runs

RUNS = int(
    os.environ.get("BIRDS_WANDB_RUNS", "24")
)  # 200 once, by hand: the numbers stand in docs/log.md


def track(runs_dir: Path, run: RunSpec, steps: range, *, ended: bool = True) -> None:
    """An attempt of a run, tracked offline by the real client.

    It logs a point for each step, and a picture and the summary at the end.
    """
    folder = RunFolder(runs_dir, run)
    tracker = Tracker(run, folder.tracking, "offline")
    for step in steps:
        tracker.log_metrics({"train_loss": 1 / (1 + step), "valid_loss": 1.0, "epoch": step}, step)
    if ended:
        picture = runs_dir / "picture.png"
        Image.new("RGB", (8, 8), "red").save(picture)
        tracker.picture("reconstructions", picture, "red")
        tracker.robustness([0.0, 0.2], [0.5, 0.25])
        tracker.summarize({"test_accuracy": 0.5})
    tracker.finish()


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The offline runs of a small sweep `exp1`: a pretraining, A, and B2 requeued after step 2."""
    runs_dir = tmp_path_factory.mktemp("runs")
    asked = [spec("variant=B2", "split=70"), spec("variant=A", "split=70")]
    runs = with_needs(asked)
    leave_specs(runs_dir, runs)
    Sweep(name="exp1", runs=tuple(Asked(key=run.key) for run in asked)).save(
        runs_dir, beside_older=False
    )
    pretraining, requeued, plain = runs.values()
    track(runs_dir, plain, range(3))  # classifiers first, because runs must not be sent only by age
    track(runs_dir, requeued, range(2), ended=False)
    time.sleep(1.1)  # W&B's folder names have a resolution of one second
    track(runs_dir, requeued, range(1, 5))  # the interrupted step is repeated
    track(runs_dir, pretraining, range(3))
    return runs_dir


def copy_runs(tracked: Path, runs_dir: Path, count: int) -> None:
    """Copies of the runs with new ids, which are changed in their logs."""
    for number in range(count):
        sources = sorted(path for path in tracked.iterdir() if (path / "tracking").is_dir())
        source = sources[number % len(sources)]
        name = f"{number:012x}"
        for folder in (source / "tracking/wandb").glob("offline-run-*"):
            copy = runs_dir / name / "tracking/wandb" / folder.name.replace(source.name, name)
            shutil.copytree(folder / "files", copy / "files")
            records = read_log(folder / f"run-{source.name}.wandb")
            for record in records:
                if record.HasField("run"):
                    record.run.run_id = name
            (copy / f"run-{name}.wandb").write_bytes(write_log(records))


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def birds(runs_dir: Path, *words: str, url: str, key: str = KEY) -> subprocess.Popen[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("WANDB")
    }
    environment |= {"WANDB_BASE_URL": url, "HOME": str(runs_dir)} | (
        {"WANDB_API_KEY": key} if key else {}
    )
    command = [sys.executable, "-m", "birds", "--runs-dir", str(runs_dir), "wandb", *words]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def sync(runs_dir: Path, *words: str, url: str, key: str = KEY) -> tuple[int, str, str]:
    """Exit status, standard output, and standard error."""
    process = birds(runs_dir, "sync", *words, url=url, key=key)
    said, warned = process.communicate()
    return process.returncode, said, warned


def test_a_sweep_goes_up_whole_pretraining_first_and_once(
    tracked: Path, tmp_path: Path, server: StandIn
) -> None:
    runs_dir = shutil.copytree(tracked, tmp_path / "runs")
    status, said, warned = sync(runs_dir, "exp1", url=server.url)
    assert (status, said.strip().rpartition(": ")[2]) == (0, "3 uploaded"), warned
    first = server.runs[server.order[0]]
    assert first.upserts[0]["jobType"] == "pretrain"
    assert [run.upserts[0]["jobType"] for run in server.runs.values()] == [
        "pretrain",
        "classify",
        "classify",
    ]
    for run in server.runs.values():
        assert run.state == "finished"
        assert any(name.startswith("media/images/reconstructions") for name in run.files)
        steps = [point["_step"] for point in run.history]
        assert steps == list(range(len(steps)))
    requeued = next(run for run in server.runs.values() if len(run.history) == 9)
    assert [point["trainer/global_step"] for point in requeued.history] == [
        0,
        1,
        1,
        2,
        3,
        4,
        4,
        4,
        4,
    ]

    before = server.asked["file_stream"], server.asked["upload"]
    status, said, _ = sync(runs_dir, "exp1", url=server.url)
    assert (status, said.strip().rpartition(": ")[2]) == (0, "3 already there")
    assert (server.asked["file_stream"], server.asked["upload"]) == before


def test_killed_half_way_and_told_to_wait_no_run_is_lost_and_none_doubled(
    tracked: Path, tmp_path: Path, server: StandIn
) -> None:
    runs_dir = tmp_path / "runs"
    copy_runs(tracked, runs_dir, RUNS)
    points = {
        run.name: sum(r.HasField("history") for r in joined([*map(read_log, run.attempts)]))
        for run in tracked_runs(runs_dir, None)
    }
    turn = itertools.count()
    server.refuse = lambda what, run: 429 if next(turn) % 7 == 3 else None
    process = birds(runs_dir, "sync", url=server.url)
    until(lambda: sum(run.state == "finished" for run in server.runs.values()) >= RUNS // 2)
    os.killpg(process.pid, signal.SIGKILL)  # also W&B's client
    process.communicate()
    assert not all(name in server.runs and server.runs[name].state == "finished" for name in points)

    status, said, warned = sync(runs_dir, url=server.url)
    assert status == 0, warned
    assert server.refused[429] > RUNS // 4
    assert {name: len(run.history) for name, run in server.runs.items()} == points
    for run in server.runs.values():
        assert run.state == "finished"
        assert [point["_step"] for point in run.history] == list(range(len(run.history)))
        assert any(name.startswith("media/images/reconstructions") for name in run.files)
    print(
        f"{RUNS} runs, {len(server.order)} on the server, {server.refused[429]} answers of 429, "
        f"{said}",
        *server.asked.items(),
    )


def test_what_w_and_b_did_not_take_is_said_and_sent_next_time(
    tracked: Path, tmp_path: Path, server: StandIn
) -> None:
    runs_dir = tmp_path / "runs"
    copy_runs(tracked, runs_dir, 4)
    server.refuse = lambda what, run: 403 if (what, run) == ("file_stream", f"{1:012x}") else None
    with locked(RunFolder(runs_dir, f"{3:012x}").lock_file):
        status, said, warned = sync(runs_dir, url=server.url)
    assert status == 1
    assert "1 still running" in said
    assert "2 uploaded" in said
    assert "1 failed" in said
    assert f"{1:012x}" in warned
    assert "points" in warned
    server.refuse = lambda what, run: None
    status, said, _ = sync(runs_dir, url=server.url)
    assert (status, sorted(said.strip().rpartition(": ")[2].split(", "))) == (
        0,
        ["2 already there", "2 uploaded"],
    )


@pytest.mark.parametrize(
    ("words", "key", "url", "answer"),
    [
        (["sync", "exp2"], KEY, None, "did you mean exp1?"),
        (["sync"], "", None, "run `wandb login`, or set WANDB_API_KEY"),
        (["sync"], KEY, "http://127.0.0.1:9", "cannot reach W&B at http://127.0.0.1:9"),
        (["sync"], "1" * 40, None, "does not accept the W&B key"),
        (["dashboard", "exp2"], "", None, "did you mean exp1?"),
    ],
)
def test_bad_input_is_answered_in_a_sentence(
    tracked: Path, server: StandIn, words: list[str], key: str, url: str | None, answer: str
) -> None:
    process = birds(tracked, *words, url=url or server.url, key=key)
    _, warned = process.communicate(timeout=120)
    assert process.returncode == 2
    assert answer in warned
    assert len(warned.strip().splitlines()) <= 2
    assert not server.runs


def test_no_offline_runs(tmp_path: Path, server: StandIn) -> None:
    status, _, warned = sync(tmp_path, url=server.url)
    assert status == 2
    assert "train with tracking=offline" in warned


def test_a_dashboard_is_written_without_a_key_and_saved_once_with_one(
    tracked: Path, tmp_path: Path, server: StandIn
) -> None:
    runs_dir = shutil.copytree(tracked, tmp_path / "runs")
    process = birds(runs_dir, "dashboard", "exp1", url=server.url, key="")
    said, warned = process.communicate(timeout=120)
    assert process.returncode == 0, warned
    assert "run `wandb login`" in said
    assert not server.asked
    written = json.loads((runs_dir / "wandb/exp1.json").read_text())["views"]
    assert [view["displayName"] for view in written] == [
        "exp1: classifiers",
        "exp1: pretraining",
        "Sweep exp1",
    ]
    keys = read_sweep(runs_dir, "exp1").specs(runs_dir)
    text = json.dumps(written)
    assert all(key in text for key in keys)
    logged = set().union(*(names_in(read_log(path)) for path in runs_dir.rglob("*.wandb")))
    shown = (
        set(found(written, "metrics"))
        | set(found(written, "mediaKeys"))
        | set(found(written, "xAxis"))
    )
    assert {"test_accuracy", "train_loss", "reconstructions", "robustness/accuracy"} <= shown
    assert shown - {"_step"} <= logged, "a panel would be empty"
    for _ in range(2):
        process = birds(runs_dir, "dashboard", "exp1", url=server.url)
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert len(server.views) == 3


def found(value: Any, name: str) -> Iterator[str]:
    """Every string with this name, at any depth."""
    for key, below in (
        value.items()
        if isinstance(value, dict)
        else enumerate(value if isinstance(value, list) else [])
    ):
        if key == name:
            yield from [below] if isinstance(below, str) else below or []
        yield from found(below, name)


def until(true: Callable[[], bool], seconds: float = 250) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)

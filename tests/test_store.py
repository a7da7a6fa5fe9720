"""One process at a time claims a run folder, and no file in it is ever incomplete."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest
from composing import spec

from birds.core.record import Record, load_records, make_record
from birds.core.spec import UserError
from birds.core.store import Orphaned, RunFolder, write_atomically, write_text

SPEC = spec("tracking=none")


def record() -> Record:
    return make_record(SPEC, "cut", {"test_accuracy": 0.5, "species": ["A", "B"]})


def finish(runs_dir: Path) -> RunFolder:
    folder = RunFolder(runs_dir, SPEC)
    with folder.claimed(SPEC):
        folder.finish(record())
    return folder


def test_a_finished_record_comes_back(tmp_path: Path) -> None:
    found = finish(tmp_path).record()
    assert found is not None
    assert found.value("test_accuracy") == 0.5
    assert (found.key, found.family, found.split) == (SPEC.key, SPEC.family, SPEC.split)


@pytest.mark.parametrize("keep", [0, 1, 40, -2])
def test_a_record_cut_short_counts_as_unfinished(tmp_path: Path, keep: int) -> None:
    folder = finish(tmp_path)
    folder.record_file.write_text(folder.record_file.read_text()[:keep])
    assert folder.record() is None
    assert load_records(tmp_path).empty


def test_a_record_of_another_recipe_is_refused(tmp_path: Path) -> None:
    folder = finish(tmp_path)
    values = json.loads(folder.record_file.read_text()) | {"recipe": 0}
    folder.record_file.write_text(json.dumps(values))
    with pytest.raises(UserError, match="recipe 0"):
        folder.record()
    with pytest.warns(UserWarning, match="recipe 0"):
        assert load_records(tmp_path).empty


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_text(file, "old")

    def fail(out: object) -> None:
        raise RuntimeError("on the way")

    with pytest.raises(RuntimeError):
        write_atomically(file, fail)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def _hold(runs_dir: Path, held: multiprocessing.synchronize.Event, seconds: float) -> None:
    folder = RunFolder(runs_dir, SPEC)
    with folder.claimed(SPEC):
        held.set()
        time.sleep(seconds)
        folder.finish(record())


def test_a_second_process_waits_and_takes_the_result(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held, 0.5))
    holder.start()
    assert held.wait(30)
    waited_for = []
    folder = RunFolder(tmp_path, SPEC)
    with folder.claimed(SPEC, waiting=waited_for.append):
        assert folder.record() is not None
    holder.join()
    assert waited_for == [
        f"process {holder.pid} on {json.loads((folder.path / 'attempt.json').read_text())['host']}"
    ]


def test_an_orphan_cannot_write_over_its_successor(tmp_path: Path) -> None:
    first = RunFolder(tmp_path, SPEC)
    with first.claimed(SPEC):
        write_text(
            first.path / "attempt.json", json.dumps({"id": "another", "host": "n1", "pid": 1})
        )
        with pytest.raises(Orphaned, match="another"):
            first.finish(record())
    assert first.record() is None


def test_a_killed_process_releases_its_claim(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from birds.core.store import RunFolder
from birds.core.spec import read_spec
spec = read_spec({SPEC.model_dump_json()!r})
with RunFolder(Path({str(tmp_path)!r}), spec).claimed(spec):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    finish(tmp_path)
    assert RunFolder(tmp_path, SPEC).record() is not None

"""Unusual machines: long folders for sockets, closed streams, no locks, names that are not text, no
home folder, a failing git.

Each case works, or gives a message with advice.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birds.core import machine, record
from birds.core.locks import claimed, locked
from birds.core.process import prepare_process, tracking_is_off
from birds.core.spec import UserError
from birds.core.store import write_text
from birds.launch import local_workers
from birds.launch.local_workers import _holds_sockets

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("data=folder", "data.move_to_test=0", "budget=smoke", "split=50", "variant=A")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, write_photos: Callable[..., Path]) -> Path:
    parts = {"train": 8, "valid": 2, "test": 2}
    counts = {f"{part}/{name}": n for part, n in parts.items() for name in ("CROW", "WREN")}
    return write_photos(tmp_path_factory.mktemp("machine") / "photos", counts)


def train(
    cwd: Path, photos: Path | str, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A small run or sweep, started in `cwd`."""
    command = [sys.executable, str(ROOT / "train.py"), *words, *SMALL, f"data.root={photos}"]
    return forked.call(command, cwd, {**os.environ, "PYTHONPATH": str(ROOT), **environment})


def test_a_sweep_with_a_long_temporary_folder_and_no_home(tmp_path: Path, photos: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    where = {"TMPDIR": str(folder), "HOME": "/proc/nowhere"}
    done = train(tmp_path, photos, "-m", "tracking=offline", **where)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/*/record.json"))) == 1
    tracked = list(tmp_path.glob("runs/*/tracking/wandb/offline-run*/*.wandb"))
    assert len(tracked) == 1
    assert b"test_accuracy" in tracked[0].read_bytes()


@pytest.mark.parametrize("letters", [1, 60, 75, 76, 90, 120, 200])
def test_sockets_get_a_folder_that_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, letters: int
) -> None:
    folder = tmp_path / ("x" * letters)
    folder.mkdir()
    settings: dict[str, str] = {}
    process = local_workers.multiprocessing.process.current_process()
    monkeypatch.setattr(process, "_config", settings)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    local_workers.use_short_socket_paths()
    assert _holds_sockets(Path(settings["tempdir"]).parent)
    assert tempfile.tempdir == str(folder), "other files stay where they were asked to be"


def test_where_no_folder_holds_sockets_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    process = local_workers.multiprocessing.process.current_process()
    monkeypatch.setattr(process, "_config", {})
    monkeypatch.setattr(local_workers, "_holds_sockets", lambda folder: False)
    with pytest.raises(UserError, match="set TMPDIR to a short path"):
        local_workers.use_short_socket_paths()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_harm_nothing(tmp_path: Path, closed: str) -> None:
    """Without standard streams, the next opened files would get their numbers, and printed text
    would go into them.
    """
    code = (
        "from birds.core.process import prepare_process; prepare_process(); import sys, os;"
        "file = open('kept', 'w'); print('words'); print('words', file=sys.stderr);"
        "os.write(1, b'words'); os.write(2, b'words'); file.write('mine'); file.close()"
    )
    shell = f'"{sys.executable}" -c "{code}" {closed}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(shell, shell=True, cwd=tmp_path, env=environment).returncode == 0
    assert (tmp_path / "kept").read_text() == "mine"


@given(
    text=st.text(st.characters(exclude_categories=[])), name=st.sampled_from(["ascii", "cp1252"])
)
def test_every_word_can_be_printed(text: str, name: str) -> None:
    stream, before = io.TextIOWrapper(io.BytesIO(), encoding=name), (sys.stdout, sys.stderr)
    sys.stdout = stream
    try:
        prepare_process()
        print(text, flush=True)
    finally:
        sys.stdout, sys.stderr = before


@given(name=st.text(st.characters(exclude_categories=[])))
def test_every_name_can_be_written_and_read_back(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "names.json"
        write_text(file, json.dumps([name], ensure_ascii=False))
        whole = name.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        assert json.loads(file.read_text()) in ([name], [whole])


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("hold", [locked, lambda path: claimed(path, "held")])
def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hold: Callable[..., object]
) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match=r"without locks .*runs_dir="), hold(tmp_path / "lock"):  # type: ignore[attr-defined]
        pass


@pytest.mark.parametrize("script", ["echo refused >&2; exit 128", "exit 0", "sleep 0; exit 1"])
def test_a_git_that_cannot_tell_counts_as_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    git = tmp_path / "git"
    git.write_text(f"#!/bin/sh\n{script}\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    record._code_version.cache_clear()
    try:
        assert record._code_version() == {"git_sha": "unknown", "git_dirty": True}
    finally:
        record._code_version.cache_clear()


@pytest.mark.parametrize(
    ("name", "value", "off"),
    [
        ("WANDB_MODE", "disabled", True),
        ("WANDB_MODE", "offline", False),
        ("WANDB_DISABLED", "true", True),
        ("WANDB_DISABLED", "false", False),
        ("WANDB_DISABLED", "", False),
    ],
)
def test_tracking_can_be_switched_off_from_outside(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, off: bool
) -> None:
    for one in ("WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, value)
    assert tracking_is_off() is off


def test_a_run_with_tracking_switched_off_leaves_none(tmp_path: Path, photos: Path) -> None:
    done = train(tmp_path, photos, WANDB_MODE="disabled")
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("runs/*/tracking"))
    [kept] = tmp_path.glob("runs/*/record.json")
    assert json.loads(kept.read_text())["runtime.tracking"] == "none"


@pytest.mark.parametrize("door", [[], ["-m"]])
@pytest.mark.parametrize("where", ["train/\udcc1guia", ""])
def test_a_name_that_is_not_utf8_is_said_with_its_cure(
    tmp_path: Path, photos: Path, door: list[str], where: str
) -> None:
    root = shutil.copytree(photos, tmp_path / ("fotos" if where else "\udcc1lbum"))
    if where:
        for part in ("train", "valid", "test"):
            (root / part / "CROW").rename(root / part / "\udcc1guia")
    root_word = "fotos" if where else "'\udcc1lbum'"
    done = train(tmp_path, root_word, *door, "tracking=none")
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or "UTF-8" in done.stderr.splitlines()[-1]


FAULTS = """
import resource, sys
import torch
from birds.core.machine import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "kept" else None
for step in range(12):
    if step == 2:  # by then what is used once has been touched
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(12_000_000).sum()  # 46 MiB
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(how: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


def test_freed_memory_is_used_again() -> None:
    kept, faults = _page_faults("kept")
    if kept != "True":
        pytest.skip("the C library is not glibc")
    assert faults < 0.6 * _page_faults("left alone")[1]  # some kernels take idle pages away


@pytest.mark.parametrize(
    ("vendor", "flags", "precision"),
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16", "bf16"),
        ("GenuineIntel", "avx512f avx512_bf16", "32"),
        ("AuthenticAMD", "avx512f avx512_bf16", "bf16"),
        ("AuthenticAMD", "avx2", "32"),
        ("", "", "32"),
    ],
)
def test_bf16_is_taken_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, vendor: str, flags: str, precision: str
) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags.split()))
    monkeypatch.setattr(machine, "_cpuinfo", lambda field: vendor)
    assert machine.fastest_precision(torch.device("cpu")) == precision

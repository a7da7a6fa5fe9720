"""Which GPU each local run gets: one run per GPU, or several with `slots`.

GPUs may have any kind of name.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from composing import spec

from birds.core.spec import Part, Runtime
from birds.launch import local_workers as slots
from birds.launch.local_workers import LocalSlots, visible_gpus
from birds.launch.progress import Board

SOURCE = Part(name="folder", options={"root": "/images"})


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "gpu_devices", lambda: ["/dev/nvidia0", "/dev/nvidia1"])


@pytest.mark.parametrize("allowed", ["0", "0,1,2,3", "GPU-8a2f", None])
def test_a_gpu_that_is_named_and_not_there_takes_no_slot(
    monkeypatch: pytest.MonkeyPatch, allowed: str | None
) -> None:
    monkeypatch.setattr(slots, "gpu_devices", list)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert visible_gpus() == []


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        ("0,2", ["0", "2"]),
        ("GPU-8a2f, MIG-77", ["GPU-8a2f", "MIG-77"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_gpus_have_the_names_that_cuda_gives_them(
    monkeypatch: pytest.MonkeyPatch, allowed: str, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert visible_gpus() == names


@pytest.mark.parametrize(
    ("asked", "given"),
    [("auto", ["GPU-a", "GPU-b"]), (4, ["GPU-a", "GPU-b", "GPU-a", "GPU-b"]), (1, ["GPU-a"])],
)
def test_slots_share_the_gpus_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Any, given: list[str]
) -> None:
    runs = {one.key: one for one in (spec("variant=A", f"seed={seed}") for seed in range(6))}
    where = Runtime(runs_dir=tmp_path, cache_dir=tmp_path, source=SOURCE)
    started: list[str | None] = []

    class Done:
        exitcode, pid, sentinel = 0, None, 0

        def join(self, timeout: float) -> None: ...

    def start(self: LocalSlots, spec: Any, gpu: str | None) -> Done:
        started.append(gpu)
        return Done()

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    monkeypatch.setattr(LocalSlots, "_start", start)
    monkeypatch.setattr(slots, "wait", lambda sentinels, timeout: None)
    LocalSlots(where, asked).work_off(Board(tmp_path, runs))
    assert started[: len(given)] == given
    assert set(started) == set(given)
    assert len(started) == len(runs)


@pytest.mark.parametrize("tracking", ["none", "offline"])
@pytest.mark.parametrize("words", ["variant=A", "variant=Logistic"])
def test_what_every_run_imports_is_imported_once(tmp_path: Path, tracking: Any, words: str) -> None:
    runtime = Runtime(runs_dir=tmp_path, cache_dir=tmp_path, source=SOURCE, tracking=tracking)
    modules = LocalSlots(runtime, 1)._imported_once(spec(words))
    assert ("wandb" in modules) == (tracking != "none")
    assert ("sklearn.linear_model" in modules) == (words == "variant=Logistic")
    for name in modules:  # a wrong name would be ignored silently
        importlib.import_module(name)

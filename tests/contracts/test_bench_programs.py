"""Programs under bench/ run at their smallest size, and what they measure is a number."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest

from bench import encoding, experiment, latency_validity, memory, scale, training
from bench.paired import ROOT, Row

TINY = ["data.classes=2", "encoder.widths=[8,16]", "image.size=32"]
TINY += [f"budget.{stage}.batch=4" for stage in ("pretrain", "classify", "frozen")]
real_run = subprocess.run


@pytest.fixture(autouse=True)
def commands_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run Python commands in forked processes that have already imported everything, which is
    faster.
    """

    def run(command: Sequence[str], **options: Any) -> Any:
        if command[0] != sys.executable:
            return real_run(command, **options)
        env = options.get("env") or dict(os.environ)
        env = env | {"PYTHONPATH": str(ROOT)}
        done = forked.call([str(word) for word in command], Path(options["cwd"]), env)
        assert not (options.get("check") and done.returncode), done.stderr
        return done

    monkeypatch.setattr(subprocess, "run", run)


def refuse_no_numbers(rows: list[Row]) -> None:
    assert rows
    for row in rows:
        assert math.isfinite(row.value), row
        assert row.value > 0, row


def test_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "STEPS", 1)
    monkeypatch.setattr(training, "HEAD_STEPS", 1)
    refuse_no_numbers(training.measure(1, *TINY))


def test_encoding() -> None:
    pytest.importorskip("onnxruntime")
    rows = encoding.measure(1, "data.classes=2", "encoder.widths=[8,16]", "image.size=32")
    refuse_no_numbers(rows)
    assert rows[1].value <= 1


def test_memory() -> None:
    rows = memory.measure(1, images=2, size=32)
    if not rows:
        pytest.skip("the C library is not glibc")
    refuse_no_numbers(rows)


def test_the_cache_and_the_photos() -> None:
    refuse_no_numbers(scale.cache(1, photos=100))
    refuse_no_numbers(scale.photos(100, 200))


def test_the_experiment_beside_its_reference(tmp_path: Path) -> None:
    photos = scale._folder(tmp_path / "drawn", 60, 64, species=2)
    found = experiment.measure(
        experiment.Epochs(1, 1, 1),
        species=2,
        move_to_test=1,
        folder=photos,
        splits=(70,),
        variants=("A",),
    )
    refuse_no_numbers(experiment.rows(found))
    accuracies = [found["ours_accuracy"]["70/A"], found["reference_jobs"]["70/A"]["test_accuracy"]]
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)


def test_the_race_on_simulated_and_on_real_times() -> None:
    race = latency_validity.simulated
    found = latency_validity.judged(2, lambda random: race(latency_validity.RATIOS, 21, random))
    assert 0 <= found.covered <= 2
    classify, photos = latency_validity.small_network()
    times = latency_validity.measured(2, np.random.default_rng(0), classify, photos)
    assert times.shape == (2, 3)
    assert (times > 0).all()

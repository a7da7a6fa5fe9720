"""Weights & Biases offline, with its own client: a run's data, and that errors end no run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from composing import spec
from road.conftest import Road

from birds.train.tracking import Tracker

WANDB = Path(sys.executable).with_name("wandb")


def inspected(runs_dir: Path) -> dict[str, str]:
    """The contents of every offline run as read by W&B's own code, as lines of JSON, by key."""
    found = {}
    for folder in runs_dir.glob("*/tracking/wandb/offline-run-*"):
        command = [WANDB, "leet", "inspect", "--json", folder]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "HOME": str(runs_dir)},
        )
        found[folder.parents[2].name] = done.stdout
    return found


def test_a_run_leaves_its_curves_and_reconstructions(road: Road) -> None:
    said = road.train("split=50", "variant=B2", "tracking=offline")
    records, tracked = road.records(), inspected(road.runs_dir)
    assert set(tracked) == set(records)
    assert "wandb sync" in said
    for key, record in records.items():
        text = tracked[key]
        assert key in text
        assert record["family"] in text
        for word in (
            record["stage"],
            "split=50",
            f"variant={record['variant']}",
            "data=folder",
            "train_loss",
            "lr",
        ):
            assert word in text, f"{word} is not in the run's W&B file"
        assert ("reconstructions" in text) == (record["stage"] == "pretrain")
        assert ("test_confusion" in text) == (record["stage"] == "classify")


def test_a_tracking_failure_ends_no_run(road: Road) -> None:
    road.train("split=50", "variant=B2", "tracking=none")
    pretraining = next(
        key for key, record in road.records().items() if record["stage"] == "pretrain"
    )
    (road.runs_dir / pretraining / "record.json").unlink()
    (road.runs_dir / pretraining / "tracking").write_text("a file where W&B wants a folder")
    said = road.train("split=50", "variant=DAE", "pretraining=autoencode", "tracking=offline")
    assert "W&B tracking stopped, the run goes on" in said
    assert len(road.records()) == 3


def test_a_broken_client_is_said_once_and_forgotten(tmp_path: Path) -> None:
    (tmp_path / "tracking").write_text("a file where W&B wants a folder")
    with pytest.warns(UserWarning, match="the run goes on"):
        tracker = Tracker(spec(), tmp_path / "tracking", "offline")
    calls = []

    class Broken:
        def log_metrics(self, *words: object) -> None:
            calls.append(words)
            raise RuntimeError("the network is gone")

    tracker._wandb = Broken()  # type: ignore[assignment]
    import warnings

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        tracker.log_metrics({"loss": 1.0}, 1)
        tracker.log_metrics({"loss": 1.0}, 2)
    assert len(calls) == 1
    assert [str(w.message) for w in heard] == [
        "W&B tracking stopped, the run goes on: RuntimeError: the network is gone"
    ]

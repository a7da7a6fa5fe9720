"""The main way: one command from photos to a table; starting it again, failures and stopping."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from road.conftest import Road

SWEEP = ("-m", "split=50,75", "variant=A,B1,B2")


def test_six_classifiers_share_two_pretrainings_and_end_in_a_table(road: Road) -> None:
    dry = road.train(*SWEEP, "dry_run=true")
    assert dry.count("to do") == 8
    assert dry.count("after ") == 4
    assert not road.records()

    said = road.train(*SWEEP)
    records = road.records()
    assert Counter(r["stage"] for r in records.values()) == {"pretrain": 2, "classify": 6}
    assert "8 runs: 0 already finished, 8 to do" in said
    assert "| 75/25" in said
    with (road.runs_dir / "tables" / "last.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["split"], row["variant"]) for row in rows] == [
        (s, v) for s in ("50", "75") for v in ("A", "B1", "B2")
    ]
    for row in rows:
        assert float(row["accuracy_low"]) <= float(row["accuracy"]) <= float(row["accuracy_high"])
    for record in records.values():
        assert record["cost_parameters"] >= record["cost_parameters_trained"] > 0
        assert record["cost_flops_per_image"] > 0
        assert (road.runs_dir / record["key"] / "curves.csv").read_text().startswith("epoch,")
    by_split = {
        split: {r["split_digest"] for r in records.values() if r["split"] == split}
        for split in (50, 75)
    }
    assert all(len(digests) == 1 for digests in by_split.values())

    started = time.monotonic()
    again = road.train(*SWEEP)
    assert "8 runs: 8 already finished, 0 to do" in again
    assert time.monotonic() - started < 15
    assert road.records() == records
    assert (
        road.birds("table").splitlines()[1:10] == again[again.index("| split") :].splitlines()[:9]
    )


def test_a_sweep_stops_at_the_look_that_knows_enough(road: Road) -> None:
    sweep = ("-m", "split=50", "label_smoothing=0.0,0.1", "seed=range(5)")
    dry = road.train(*sweep, "launch.until='ci=200'", "dry_run=true")
    assert dry.count("to do") == 10
    said = road.train(*sweep, "launch.until='ci=200'")
    assert "Interim analysis at 3 seeds" in said
    assert "4 of 10 runs were not needed" in said
    assert sorted(r["seed"] for r in road.records().values()) == [0, 0, 1, 1, 2, 2]
    odd = road.train("-m", "seed=0,1", "launch.until='ci=2'", status=2)
    assert "2 seeds are too few" in odd


def test_a_failing_run_stops_no_other_and_is_all_that_is_done_again(road: Road) -> None:
    sweep = ("-m", "split=50", "budget.classify.weight_decay=0.05,1e35")
    said = road.train(*sweep, status=1)
    assert len(road.records()) == 1
    assert "FloatingPointError" in said
    assert "failure.txt" in said
    assert "1 of 2 runs did not finish" in said
    again = road.train(*sweep, status=1)
    assert "2 runs: 1 already finished, 1 to do" in again


def test_fail_fast_holds_the_rest_status_says_so_and_retry_does_it(road: Road) -> None:
    sweep = ("-m", "split=50", "budget.classify.weight_decay=1e35,0.05", "slots=1")
    said = road.train(*sweep, "launch.fail_fast=true", status=1)
    assert "held" in said
    assert not road.records()
    shown = road.birds("status")
    assert "diverged: FloatingPointError" in shown
    assert "last: 1 to do, 1 failed" in shown
    assert "1 of 2 runs did not finish" in road.train(*sweep, status=1)
    assert "last: 1 finished, 1 failed" in road.birds("status")
    failed = next(key for key in (f.parent.name for f in road.runs_dir.glob("*/failure.txt")))
    assert "FloatingPointError" in road.birds("logs", failed)
    before = road.records()
    road.birds("retry", status=1)
    assert road.records() == before


def test_what_needs_a_failed_pretraining_is_not_started(road: Road) -> None:
    said = road.train(
        "-m", "split=50", "variant=A,B1,B2", "budget.pretrain.weight_decay=1e35", status=1
    )
    assert [r["variant"] for r in road.records().values()] == ["A"]
    assert said.count("not started:") == 2


CHAIN = (
    "-m",
    "split=50",
    "variant=A,B2",
    "pretraining=simclr",
    "+pretraining@pretraining.after=denoise",
)


def test_a_chain_of_three_works_as_one_of_two_does(road: Road) -> None:
    dry = road.train(*CHAIN, "dry_run=true").splitlines()
    chain = {line.split()[4]: line for line in dry if "  to do " in line}  # by variant
    assert list(chain) == ["denoise", "simclr", "A", "B2"]
    for needed, needing in (("denoise", "simclr"), ("simclr", "B2")):
        assert chain[needing].endswith(f"after {chain[needed].split()[0]}")

    said = road.train(*CHAIN)
    records = {record["variant"]: record for record in road.records().values()}
    assert "4 runs: 0 already finished, 4 to do" in said
    assert set(records) == set(chain)
    for variant, line in chain.items():
        assert records[variant]["key"] == line.split()[0]
    assert records["B2"]["needs_keys"] == [records["simclr"]["key"]]
    assert records["simclr"]["needs_keys"] == [records["denoise"]["key"]]
    starts = {v: attempt(road, record["key"])["started"] for v, record in records.items()}
    assert starts["denoise"] < starts["simclr"] < starts["B2"]
    assert "last: 4 finished" in road.birds("status")
    assert "4 runs: 4 already finished, 0 to do" in road.train(*CHAIN)


@pytest.mark.slow
def test_a_chain_that_fails_at_its_bottom_names_it_at_every_level(road: Road) -> None:
    road.train(*CHAIN, "budget.pretrain.weight_decay=1e35", status=1)
    shown = road.birds("status").splitlines()
    (failed,) = [line.split()[0] for line in shown if "  failed " in line]
    blocked = [line for line in shown if "  blocked " in line]
    assert len(blocked) == 2
    assert all(f"{failed}, which it needs: failed" in line for line in blocked)
    again = road.birds("retry", status=1)
    assert (
        again.count(f"not started: it needs {failed} (denoise split=50 seed=0), which failed") == 2
    )
    assert [record["variant"] for record in road.records().values()] == ["A"]


def attempt(road: Road, key: str) -> dict[str, Any]:
    return dict(json.loads((road.runs_dir / key / "attempt.json").read_text()))


def children_of(group: int) -> list[int]:
    """The living processes of a group; dead ones that are not yet reaped have no command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getpgid(int(name)) == group and Path(f"/proc/{name}/cmdline").read_text():
                    found.append(int(name))
            except (ProcessLookupError, FileNotFoundError):
                continue
    return found


def test_ctrl_c_ends_the_children_and_loses_nothing(road: Road) -> None:
    sweep = (
        "-m",
        "split=50",
        "variant=A,B2",
        "budget.pretrain.epochs=500",
        "budget.pretrain.patience=500",
        "slots=2",
    )
    process = road.start(*sweep)
    deadline = time.monotonic() + 120
    while not road.records() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command continues from here" in err
    time.sleep(1)
    assert children_of(process.pid) == []
    assert [r["variant"] for r in road.records().values()] == ["A"]


def test_ctrl_c_on_a_single_run_is_no_failure_and_it_goes_on(road: Road) -> None:
    asked = ("split=50", "budget.classify.epochs=60", "budget.classify.patience=60")
    process = road.start(*asked)
    assert process.stderr is not None
    assert any("epoch 3/60" in line for line in process.stderr)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command continues from here" in err
    assert not list(road.runs_dir.glob("*/failure.txt"))
    assert "epoch 1/60" not in road.train(*asked)


def test_two_people_start_the_same_run(road: Road) -> None:
    both = [road.start("split=50") for _ in range(2)]
    said = ["".join(process.communicate(timeout=200)) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(road.records()) == 1
    assert sum("epoch 2/2" in words for words in said) == 1


@pytest.mark.parametrize("features", ["cached", "live"])
def test_a_single_run_does_its_own_pretraining(road: Road, features: str) -> None:
    said = road.train("split=50", "variant=B1", f"features={features}")
    assert sorted(r["stage"] for r in road.records().values()) == ["classify", "pretrain"]
    assert "test accuracy" in said


CLASSES = ("ACROSS", "DOWN", "SLANTED")


def test_photos_to_species(road: Road, tmp_path_factory: pytest.TempPathFactory) -> None:
    road.train("split=50")
    key = next(iter(road.records()))
    photo = next(iter((tmp_path_factory.getbasetemp()).glob("photos*/test/DOWN/000.jpg")))
    said = road.birds("predict", key[:8], str(photo), "--picture", str(road.runs_dir / "p.png"))
    assert all(name in said for name in CLASSES)
    shares = [float(line.split("%")[0]) for line in said.splitlines() if line.endswith(CLASSES)]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert shares == sorted(shares, reverse=True)
    assert (road.runs_dir / "p.png").stat().st_size > 1000
    assert "cannot be read as an image" in road.birds("predict", key[:8], __file__, status=2)


def _working(road: Road) -> list[int]:
    """The processes that have finished an epoch."""
    folders = [file.parent for file in road.runs_dir.glob("*/curves.csv")]
    return [json.loads((folder / "attempt.json").read_text())["pid"] for folder in folders]


LONG = (
    "-m",
    "split=50",
    "variant=A",
    "budget.classify.epochs=4000",
    "budget.classify.patience=4000",
)


def test_runs_end_with_their_launcher_and_one_that_is_killed_is_named(road: Road) -> None:
    launcher = road.start(*LONG)
    wait_until(lambda: _working(road))
    os.kill(_working(road)[0], signal.SIGKILL)
    assert "killed: the process was ended by SIGKILL" in "".join(launcher.communicate())
    assert launcher.returncode == 1

    before = _working(road)
    launcher = road.start(*LONG)
    wait_until(lambda: _working(road) != before)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.communicate()
    wait_until(lambda: not Path(f"/proc/{_working(road)[0]}").exists())


@pytest.mark.slow
def test_runs_end_with_a_launcher_that_a_script_started_in_the_background(
    road: Road,
) -> None:
    """A shell without job control makes its background commands ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        launcher = road.start(*LONG)
    finally:
        signal.signal(signal.SIGINT, before)
    wait_until(lambda: _working(road))
    os.kill(launcher.pid, signal.SIGTERM)
    launcher.communicate()
    wait_until(lambda: not Path(f"/proc/{_working(road)[0]}").exists())


def wait_until(moment: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not moment():
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.02)

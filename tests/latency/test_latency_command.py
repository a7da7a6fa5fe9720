"""`birds latency` from the command line to the table, on a tiny run whose models are real."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from birds.cli.latency import parsed_numbers, refuse_too_little
from birds.core.spec import UserError
from birds.core.store import RunFolder

COMMAND = """
import argparse, sys
from pathlib import Path
from birds.cli.latency import add_command
from birds.core.errors import exit_status
top = argparse.ArgumentParser()
top.add_argument("--runs-dir", type=Path)
add_command(top.add_subparsers())
args = top.parse_args()
sys.exit(exit_status(lambda: args.act(args)))
"""


def latency(runs_dir: Path, *words: str, status: int = 0, **environment: str) -> str:
    """The text on both streams of `birds latency`."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", COMMAND, "--runs-dir", str(runs_dir), "latency", *words]
    done = subprocess.run(command, env=env, text=True, capture_output=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_from_models_to_the_table(tiny_sweep, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    quick = ("--batches", "2", "--threads", "1", "--rounds", "31", "--seconds", "0")
    shown = latency(
        tiny_sweep.runs_dir,
        "tiny",
        *quick,
        CXX="no-such-compiler",
        TORCHINDUCTOR_CACHE_DIR=str(tmp_path),
    )
    rows = [
        json.loads(line)
        for line in (tiny_sweep.runs_dir / "latency.jsonl").read_text().splitlines()
    ]
    assert sorted((row["model"], row["batch"]) for row in rows) == [
        ("eager", 2),
        ("fp32", 2),
        ("int8", 2),
    ]
    for row in rows:
        assert 0 < row["median_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["rounds"] == 31
        assert row["pinned_to"] == [max(os.sched_getaffinity(0))]
        assert row["aa_low"] <= row["aa"] <= row["aa_high"]
        assert row["bytes"] > 1000
        assert 0 <= row["cores_of_others"] <= 2 * (os.cpu_count() or 1)
        assert row["load_ms"] > 0
        assert row["load_mb"] > 1
        assert "compiler" in row["left_out"]["compiled"].lower()
        if row["model"] == "int8":
            assert row["ratio_to_eager_low"] <= row["ratio_to_eager"] <= row["ratio_to_eager_high"]
            assert row["ratio_to_best_fp32"] is not None
    assert "compiled is left out" in shown
    assert "a model against itself" in shown
    assert (tiny_sweep.runs_dir / "tables" / "latency.csv").exists()


def test_eager_and_the_exported_model_see_the_same_images(tiny_sweep) -> None:  # type: ignore[no-untyped-def]
    from birds.use.latency.entries import entries, started

    kept = [
        e for e in entries(RunFolder(tiny_sweep.runs_dir, tiny_sweep.key)) if e.name != "compiled"
    ]
    given_up: list[str] = []
    working = started(kept, 1, 3, lambda entry, reason: given_up.append(reason))
    logits = {one.name: one.classify(one.images) for one in working}
    assert not given_up
    assert logits["eager"].shape == (3, 3)
    assert np.allclose(logits["eager"], logits["fp32"], atol=1e-4)


def test_a_baseline_that_computes_something_else_is_left_out(tiny_sweep) -> None:  # type: ignore[no-untyped-def]
    from birds.use.latency.entries import entries, started

    eager = entries(RunFolder(tiny_sweep.runs_dir, tiny_sweep.key))[0]
    coarse = dataclasses.replace(
        eager,
        name="coarse",
        start=lambda threads, images: lambda seen: 1.01 * eager.start(threads, images)(seen),
    )
    failing = dataclasses.replace(eager, name="failing", start=lambda threads, images: 1 // 0)
    given_up: dict[str, str] = {}
    working = started(
        (eager, coarse, failing),
        1,
        1,
        lambda entry, reason: given_up.__setitem__(entry.name, reason),
    )
    assert [one.name for one in working] == ["eager"]
    assert "does not compute what eager fp32 computes" in given_up["coarse"]
    assert "zero" in given_up["failing"]


def test_no_models_names_the_command_that_makes_them(tiny_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in ("sweeps", tiny_run.key):
        shutil.copytree(
            tiny_run.runs_dir / name, tmp_path / name, ignore=shutil.ignore_patterns("models")
        )
    assert "birds quantize tiny" in latency(tmp_path, "tiny", status=2)


def test_a_sweep_of_fitted_heads_has_nothing_to_time(tiny_run) -> None:  # type: ignore[no-untyped-def]
    said = latency(tiny_run.runs_dir, "fitted", status=2)
    assert "has no network to export" in said
    assert len(said.strip().splitlines()) == 1


def test_eager_is_read_without_lightning(tiny_run) -> None:  # type: ignore[no-untyped-def]
    code = (
        "import sys; from pathlib import Path; from birds.core.store import RunFolder;"
        "from birds.use.latency.entries import load_network;"
        "load_network(RunFolder(Path(sys.argv[1]), sys.argv[2]));"
        "sys.exit('lightning' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tiny_run.runs_dir), tiny_run.key]
    assert subprocess.run(command, check=False).returncode == 0


def test_an_unknown_sweep_names_the_nearest(tiny_run) -> None:  # type: ignore[no-untyped-def]
    assert "did you mean tiny?" in latency(tiny_run.runs_dir, "tyny", status=2)


@pytest.mark.parametrize("text", ["0", "-1", "1,x", "", "1.5", "1,,8"])
def test_batches_are_positive_numbers(text: str) -> None:
    with pytest.raises(UserError, match="choose 1 or more"):
        parsed_numbers("batches", text)


def test_batches_and_threads_are_read_once_each() -> None:
    assert parsed_numbers("batches", "1, 8,8,32") == (1, 8, 32)
    assert parsed_numbers("threads", "1,all", cores=4) == (1, 4)
    assert parsed_numbers("threads", "1,all", cores=1) == (1,)


@pytest.mark.parametrize("text", ["5", "0", "many", "1,-2"])
def test_threads_are_between_1_and_the_cores(text: str) -> None:
    with pytest.raises(UserError, match="choose 1 to 4 or all"):
        parsed_numbers("threads", text, cores=4)


def test_too_few_rounds_and_no_time_are_refused() -> None:
    with pytest.raises(UserError, match="choose 31 or more"):
        refuse_too_little(5, 10)
    with pytest.raises(UserError, match="--seconds"):
        refuse_too_little(41, -1)


@pytest.mark.slow
def test_torch_compile_computes_what_eager_computes_at_every_shape(tiny_run) -> None:  # type: ignore[no-untyped-def]
    from birds.use.latency.entries import eager, load_network

    network = load_network(RunFolder(tiny_run.runs_dir, tiny_run.key))[0]
    images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    try:
        classify = eager(network, 1, images, compiled=True)
        classify(images)
    except Exception as error:
        pytest.skip(f"torch.compile does not work here: {error}")
    import torch

    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    assert np.allclose(classify(images), expected, atol=1e-4)


def test_the_gpu_entries_are_fp32_bf16_and_a_graph(tiny_sweep) -> None:  # type: ignore[no-untyped-def]
    from birds.use.latency.entries import eager, entries, load_network, plain_fp32

    folder = RunFolder(tiny_sweep.runs_dir, tiny_sweep.key)
    moved = {entry.name: entry for entry in entries(folder, "cuda")}
    assert [moved[name].about["baseline"] for name in ("eager", "bf16", "graph")] == [
        True,
        False,
        True,
    ]
    assert moved["bf16"].about["test_accuracy"] is None  # accuracy in bf16 is unknown
    network = load_network(folder)[0]
    images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    with plain_fp32():  # without a GPU, only that the code runs
        exact, coarse = (eager(network, 1, images, bf16=bf16)(images) for bf16 in (False, True))
    assert exact.dtype == coarse.dtype == np.float32
    assert 0 < np.abs(exact - coarse).max() < 0.2 * np.abs(exact).max()

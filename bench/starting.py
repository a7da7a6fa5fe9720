"""What stands around the training: start-up, warm starts, memory, how full the slots are kept, and
the commands after a sweep.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np

from bench.paired import ROOT, Row
from birds.core.machine import cores
from birds.core.spec import read_spec
from birds.core.sweep import read_sweep
from birds.launch.local_workers import visible_gpus

SHORT = (
    "budget=smoke",
    "variant=A",
    "split=90",
    "tracking=none",
    "budget.classify.epochs=6",
    "data.classes=6",
)
EXPERIMENT = (
    "budget=smoke",
    "tracking=none",
    "sweep=finished",
    "split=70,90",
    "variant=A,B1,B2",
    "seed=0,1,2,3,4",
)
AFTER_A_SWEEP = {"table": 1.0, "dashboard": 2.0, "figures": 6.0, "report": 10.0}


def _seconds(*command: str, **environment: str) -> float:
    started = time.perf_counter()
    env = os.environ | environment
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True, env=env)
    return time.perf_counter() - started


def _train(runs: Path, *overrides: str) -> list[str]:
    return ["train.py", *overrides, f"runs_dir={runs}", f"cache_dir={ROOT / 'runs' / 'cache'}"]


def _first_steps(runs: Path, *overrides: str) -> list[tuple[float, float]]:
    """Of each new run: when its process was asked for (0 for a run without a slot) and when its
    first epoch began.
    """
    command = [sys.executable, *_train(runs, *overrides)]
    seen, found = set(runs.glob("*/progress.json")), []
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        for file in set(runs.glob("*/progress.json")) - seen:
            seen.add(file)
            logs = [int(log.stem) / 1e9 for log in (file.parent / "jobs").glob("*.log")]
            found.append((min(logs, default=0.0), float(json.loads(file.read_text())["time"])))
        time.sleep(0.002)
    return sorted(found)


def _start_once(runs: Path, seed: int) -> float:
    """Seconds from the command to the first step."""
    started = time.time()
    return _first_steps(runs, *SHORT, f"seed={seed}")[0][1] - started


def startup(rounds: int) -> list[Row]:
    """Commands that import neither torch nor Lightning, and the way to the first step."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        helped = [_seconds("train.py", "--help") for _ in range(rounds)]
        first = [_start_once(runs, seed) for seed in range(rounds)]
        warm = _first_steps(
            runs, "-m", *SHORT, "slots=1", f"seed={','.join(map(str, range(50, 51 + rounds)))}"
        )
        _copies(runs, next(runs.glob("*/record.json")).parent, 100)
        status = [
            _seconds("-m", "birds", "--runs-dir", str(runs), "status", "copies")
            for _ in range(rounds)
        ]
    names = (
        "train.py --help",
        "birds status on 100 runs",
        "second start of a run to its first step",
        "warm start",
    )
    started = [first_step - asked for asked, first_step in warm[1:]]
    aims, took = (1.0, 0.7, 6.0, 0.5), (helped, status, first[1:] or first, started)
    return [
        Row(name, median(own), aim, False, "s", min(own), max(own), f"{len(own)} times")
        for name, own, aim in zip(names, took, aims, strict=True)
    ]


def finished(rounds: int) -> list[Row]:
    """What is waited for after a sweep: the commands on the finished runs of experiment 1 with five
    seeds.
    """
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        _seconds(*_train(runs, "-m", *EXPERIMENT))
        return after_a_sweep(runs, "finished", rounds)


def after_a_sweep(
    runs: Path, sweep: str, rounds: int, aims: Mapping[str, float] = AFTER_A_SWEEP
) -> list[Row]:
    """Seconds of each command on a finished sweep, against its aim in seconds."""
    count = len(read_sweep(runs, sweep).runs)
    took: dict[str, list[float]] = {name: [] for name in aims}
    for _ in range(rounds):
        for name, own in took.items():
            out = ["--out", str(runs / "article")] if name == "report" else []
            own.append(_seconds("-m", "birds", "--runs-dir", str(runs), name, sweep, *out))
    rows = []
    for name, own in took.items():
        what = f"birds {name} on {count} runs"
        shown = f"{len(own)} times"
        rows.append(Row(what, median(own), aims[name], False, "s", min(own), max(own), shown))
    return rows


def _copies(runs: Path, run: Path, count: int) -> None:
    """A sweep `copies` of so many finished runs: one run's record under other keys."""
    record, spec = (
        json.loads((run / "record.json").read_text()),
        read_spec((run / "spec.json").read_text()),
    )
    copies = [spec.model_copy(update={"seed": 1000 + number}) for number in range(count)]
    for copy in copies:
        (runs / copy.key).mkdir(parents=True, exist_ok=True)
        (runs / copy.key / "record.json").write_text(
            json.dumps(record | {"key": copy.key, "seed": copy.seed})
        )
        (runs / copy.key / "spec.json").write_text(copy.model_dump_json())
    sweep = runs / "sweeps" / "copies" / "sweep.json"
    sweep.parent.mkdir(parents=True, exist_ok=True)
    sweep.write_text(json.dumps({"name": "copies", "runs": [{"key": copy.key} for copy in copies]}))


def side_by_side(*overrides: str) -> list[Row]:
    """Images a second of several runs at once, on one GPU or on the cores, against those of one run
    alone; with further overrides for the runs.
    """
    gpu = visible_gpus()[:1]
    steps = 1000 if gpu else 20
    long = (
        f"budget.classify.min_steps={steps}",
        "budget.classify.epochs=3",
        "budget.classify.patience=3",
    )
    rates = {}
    for count in (1, 2, 4) if gpu else (1, cores()):
        with tempfile.TemporaryDirectory() as folder:
            seeds = f"seed={','.join(str(seed) for seed in range(count))}"
            asked = (
                "-m",
                "variant=A",
                "split=90",
                "tracking=none",
                "compile=false",
                *long,
                *overrides,
                seeds,
                f"slots={count}",
            )
            _seconds(*_train(Path(folder), *asked), CUDA_VISIBLE_DEVICES=",".join(gpu))
            records = [json.loads(file.read_text()) for file in Path(folder).glob("*/record.json")]
            rates[count] = sum(float(record["cost_images_per_second"]) for record in records)
    where = "on one GPU" if gpu else "a core each"
    return [
        Row(
            f"{count} runs side by side / one alone, images/s",
            rates[count] / rates[1],
            1.5,
            True,
            shown=shown,
        )
        for count in rates
        if count > 1
        and (shown := f"fine-tuning {where}: {rates[count]:.0f} against {rates[1]:.0f} images/s")
    ]


def makespan(runs_count: int) -> list[Row]:
    """A sweep of short runs: its wall time against the seconds of training in it, spread over the
    slots.
    """
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        seeds = ",".join(str(seed) for seed in range(runs_count))
        wall = _seconds(*_train(runs, "-m", *SHORT, f"seed={seeds}"))
        records = [json.loads(file.read_text()) for file in runs.glob("*/record.json")]
        trained = sum(float(record["cost_seconds"]) for record in records)
        attempts = np.array([float(record["cost_attempt_seconds"]) for record in records])
        memory = max(float(record["cost_peak_memory_mb"]) for record in records)
    slots = cores()
    around = float(np.median(attempts)) - trained / len(records)
    shown = (
        f"{len(records)} runs of {trained / len(records):.1f} s training, {around:.1f} s around "
        f"it, {slots} slots"
    )
    return [
        Row(
            "sweep of short runs: makespan / (training / slots)",
            wall * slots / trained,
            1.15,
            False,
            shown=shown,
        ),
        Row(
            "the same with testing counted as work",
            wall * slots / float(attempts.sum()),
            1.15,
            False,
            shown=shown,
        ),
        Row(
            "peak memory of a run, MiB",
            memory,
            1200,
            False,
            "MiB",
            shown="cache and shared pages included",
        ),
    ]

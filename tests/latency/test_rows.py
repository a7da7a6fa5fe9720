"""Rows are appended completely, with several writers; tables never mix machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis.latency import append_rows, latency_table, read_rows, rows_file
from analysis.latency_report import print_latency_table
from birds.core.spec import UserError

WRITE = """
import sys
from pathlib import Path
from analysis.latency import append_rows
for k in range(40):
    append_rows(Path(sys.argv[1]), [{"who": sys.argv[2], "k": k, "m": m, "long": "x" * 5000} for m in range(3)])
"""


def row(**other: Any) -> dict[str, Any]:
    """A row as `birds latency` writes it."""
    of_run = {
        "sweep": "exp1",
        "key": "abc",
        "variant": "B2",
        "split": 90,
        "seed": 0,
        "size": 128,
        "images_test": 560,
    }
    of_host = {
        "machine": "11111111",
        "host": "one",
        "cpu": "Xeon",
        "instruction_sets": ["avx2"],
        "cores": 2,
    }
    of_host |= {
        "memory_gb": 8,
        "gpu": None,
        "governor": "unknown",
        "system": "Linux 6",
        "versions": {"torch": "2.13.0"},
    }
    of_cell = {
        "device": "cpu",
        "threads": 1,
        "batch": 1,
        "load_before": 0.5,
        "cores_of_others": 0.0,
    }
    of_cell |= {
        "pinned_to": [1],
        "left_out": {},
        "time": 1e9,
        "best_fp32": "fp32",
        "aa_model": "int8",
        "aa": 1.0,
    }
    of_cell |= {
        "aa_low": 0.99,
        "aa_high": 1.01,
        "aa_noisy": False,
        "aa_verdict": "differences above 1.0% can be told",
    }
    of_model = {
        "model": "int8",
        "backend": "onnxruntime",
        "precision": "int8",
        "baseline": False,
        "bytes": 730_000,
    }
    of_model |= {
        "test_accuracy": 0.9,
        "test_macro_f1": 0.89,
        "import_ms": 30.0,
        "load_ms": 20.0,
        "load_mb": 40.0,
    }
    times = {
        "median_ms": 1.0,
        "p95_ms": 1.2,
        "p99_ms": 1.5,
        "images_per_second": 900.0,
        "calls": 123,
        "rounds": 41,
    }
    for name, ratio in (("eager", 0.2), ("best_fp32", 0.4)):
        times |= {
            f"ratio_to_{name}": ratio,
            f"ratio_to_{name}_low": ratio * 0.8,
            f"ratio_to_{name}_high": ratio * 1.25,
        }
        times |= {f"ratio_to_{name}_told": "faster"}
    return of_run | of_host | of_cell | of_model | times | other


def fp32(**other: Any) -> dict[str, Any]:
    """The baseline of `row`."""
    nothing = {f"ratio_to_best_fp32{end}": None for end in ("", "_low", "_high", "_told")}
    as_float = {
        "model": "fp32",
        "precision": "fp32",
        "baseline": True,
        "bytes": 2_700_000,
        "median_ms": 2.5,
    }
    return row(**as_float | nothing | other)


def test_lines_cut_short_or_of_another_shape_are_left_out(tmp_path: Path) -> None:
    append_rows(tmp_path, [row(), fp32()])
    whole = rows_file(tmp_path).read_text()
    rows_file(tmp_path).write_text(f'[1, 2]\n{{"model": "int8"}}\n{whole}{whole[:200]}')
    assert list(read_rows(tmp_path)["model"]) == ["int8", "fp32"]
    assert len(latency_table(tmp_path)) == 2


def test_two_processes_append_without_tearing(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path), who]) for who in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    found = [json.loads(line) for line in rows_file(tmp_path).read_text().splitlines()]
    assert len(found) == 2 * 40 * 3
    for k in range(0, len(found), 3):  # rows appended in one call are together
        assert [(one["k"], one["m"]) for one in found[k : k + 3]] == [
            (found[k]["k"], m) for m in range(3)
        ]
        assert len({one["who"] for one in found[k : k + 3]}) == 1


def test_a_line_cut_short_costs_itself_alone(tmp_path: Path) -> None:
    append_rows(tmp_path, [row(batch=1)])
    with rows_file(tmp_path).open("a") as file:
        file.write('{"machine": "1111')
    append_rows(tmp_path, [row(batch=8)])
    assert read_rows(tmp_path)["batch"].tolist() == [1, 8]


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_rows(tmp_path, [row()])
    before = rows_file(tmp_path).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="disk full"):
        append_rows(tmp_path, [row()])
    assert rows_file(tmp_path).read_bytes() == before


def test_nothing_measured_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="birds latency SWEEP"):
        latency_table(tmp_path)


def test_the_newest_race_counts_whole(tmp_path: Path) -> None:
    older = [row(time=1e9, median_ms=7.0), row(model="compiled", time=1e9), row(batch=8, time=1e9)]
    append_rows(tmp_path, [row(time=2e9, median_ms=5.0), *older])
    table = latency_table(tmp_path)
    assert table["batch"].tolist() == [1, 8]
    assert table["model"].tolist() == [
        "int8",
        "int8",
    ]  # the compiled model was not in the newer race
    assert table["median_ms"].iloc[0] == 5.0


def test_two_machines_stay_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {"machine": "22222222", "cpu": "Epyc", "time": 2e9, "median_ms": 0.5}
    append_rows(tmp_path, [fp32(), row(), row(**other), fp32(**other)])
    table = latency_table(tmp_path)
    assert len(table) == 4
    assert (
        table["machine"].tolist() == ["22222222"] * 2 + ["11111111"] * 2
    )  # the newest race comes first
    print_latency_table(tmp_path)
    newer, older = capsys.readouterr().out.split("## Xeon")
    assert "## Epyc" in newer
    assert "11111111" not in newer
    assert "0.50" in newer
    assert "22222222" not in older.split("Written:")[0]
    pictures = sorted(path.name for path in (tmp_path / "tables").glob("pareto-*"))
    assert pictures == [
        f"pareto-{m}.{kind}" for m in ("11111111", "22222222") for kind in ("pdf", "png", "svg")
    ]
    assert (tmp_path / "tables" / "pareto-11111111.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_says_speed_with_its_interval_and_what_cannot_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unsure = {
        "model": "bf16",
        "ratio_to_best_fp32_told": "cannot be told",
        "calls": 41,
        "test_accuracy": None,
    }
    append_rows(tmp_path, [fp32(left_out={"compiled": "no C++ compiler"}), row(), row(**unsure)])
    print_latency_table(tmp_path)
    shown = capsys.readouterr().out
    race, weights = shown.split("### Size")
    lines = {
        line.split("|")[2].strip(): line
        for line in race.splitlines()
        if line.startswith("| B2 90/10")
    }
    assert set(lines) == {"fp32 *", "int8", "bf16"}
    assert "5.00 [4.00, 6.25]" in lines["int8"]
    assert "2.50 [2.00, 3.12]" in lines["int8"]
    assert "=" not in lines["int8"]
    assert "2.50 [2.00, 3.12] =" in lines["bf16"]
    assert "~1.50" in lines["bf16"]
    assert "compiled is left out: no C++ compiler" in shown
    assert "differences above 1.0% can be told" in shown
    assert "| 0.73 |" in weights
    assert (tmp_path / "tables" / "latency.md").read_text().strip() in shown
    csv = (tmp_path / "tables" / "latency.csv").read_text()
    assert csv.splitlines()[0].count("ratio_to_eager") == 4


def test_a_busy_machine_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append_rows(tmp_path, [fp32(cores_of_others=0.1), row(cores_of_others=0.1)])
    print_latency_table(tmp_path)
    assert "busy machine" not in capsys.readouterr().out
    append_rows(tmp_path, [fp32(cores_of_others=1.4, time=2e9), row(cores_of_others=1.4, time=2e9)])
    print_latency_table(tmp_path)
    assert "busy machine (other processes used 1.40 of 2 cores)" in capsys.readouterr().out


def test_tables_need_neither_torch_nor_a_runtime(tmp_path: Path) -> None:
    append_rows(tmp_path, [fp32(), row()])
    code = (
        "import sys; from pathlib import Path; from analysis.latency_report import print_latency_table;"
        "print_latency_table(Path(sys.argv[1])); sys.exit(bool({'torch', 'onnxruntime', 'wandb'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "MPLCONFIGDIR": str(tmp_path)},
    )
    assert done.returncode == 0


def test_this_folder_runs_on_one_worker(request: pytest.FixtureRequest) -> None:
    """Otherwise each worker would train the models that its tests share (`tests/conftest.py`)."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("not run by several workers")
    assert request.node.nodeid.endswith("@tests/latency/")

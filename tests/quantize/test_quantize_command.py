"""`birds quantize` on the command line, and the errors that it reports before any work."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from birds.cli.quantize import add_command
from birds.core import machine
from birds.core.errors import exit_status
from birds.core.store import RunFolder
from birds.use.quantize.models import warn_without_int8


@pytest.fixture
def quantize(copied, capsys):
    """A function (*words) -> exit status, output, errors of `birds quantize` on a copy of the
    sweep.
    """

    def asked(*words):
        parser = argparse.ArgumentParser()
        parser.add_argument("--runs-dir", type=Path, default=copied.runs_dir)
        add_command(parser.add_subparsers(required=True))
        args = parser.parse_args(["quantize", *words])
        status = exit_status(lambda: args.act(args))
        return status, *capsys.readouterr()

    return asked


def assert_refused(asked, *words):
    status, _, err = asked
    assert status == 2
    assert all(word in err for word in words), err
    assert "Traceback" not in err


def test_a_sweep_becomes_models_and_a_table(quantize, copied):
    status, out, err = quantize("tiny", "--best", "1", "--calibration", "16")
    assert status == 0, err
    rows = [line for line in out.splitlines() if line.startswith("| A split")]
    assert ["fp32" in rows[0], "int8" in rows[1], len(rows)] == [True, True, 2]
    made = [key for key in copied.keys if RunFolder(copied.runs_dir, key).models.exists()]
    assert len(made) == 1
    assert sorted(p.name for p in RunFolder(copied.runs_dir, made[0]).models.iterdir()) == [
        "fp32.json",
        "fp32.onnx",
        "int8.json",
        "int8.onnx",
        "lock",
    ]


def test_no_sweep_and_no_finished_run(quantize, copied):
    assert_refused(quantize("tinny"), "no sweep 'tinny'", "did you mean tiny")
    for key in copied.keys:
        (copied.runs_dir / key / "record.json").unlink()
    assert_refused(quantize("tiny"), "no finished run yet (3 requested)")
    assert_refused(quantize("--runs", copied.keys[0]), f"run {copied.keys[0]} is not finished")


def test_a_checkpoint_that_is_missing_or_cut_short(quantize, copied):
    checkpoint = RunFolder(copied.runs_dir, copied.keys[0]).checkpoint("best")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert_refused(
        quantize("--runs", copied.keys[0][:6]), "missing or incomplete", "remove", "train.py"
    )
    checkpoint.unlink()
    assert_refused(quantize("--runs", copied.keys[0]), "missing or incomplete")


def test_an_empty_calibration_set(quantize, copied):
    assert_refused(
        quantize("--runs", copied.keys[0], "--calibration", "0"), "--calibration 0", "256"
    )


def test_a_backend_that_is_not_installed(quantize, copied, monkeypatch):
    for name in ("openvino", "nncf"):
        monkeypatch.setitem(sys.modules, name, None)
    assert_refused(
        quantize("--runs", copied.keys[0], "--backend", "openvino"), "not installed", "[openvino]"
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert_refused(quantize("--runs", copied.keys[0]), "not installed", "[quantize]")


def test_images_that_are_gone_or_changed(quantize, copied):
    for file in copied.runs_dir.glob("*/record.json"):
        moved = json.loads(file.read_text())
        moved["runtime.source"]["options"]["root"] = "/moved"
        file.write_text(json.dumps(moved))
    asked = quantize("--runs", copied.keys[0])
    assert_refused(asked, "cannot find the images", "--data-root FOLDER")
    assert quantize("--runs", copied.keys[0], "--data-root", str(copied.root / "train"))[0] == 2


def test_a_head_that_is_fitted_has_no_network_to_export(quantize, copied):
    asked = quantize("--runs", copied.fitted)
    assert_refused(asked, f"run {copied.fitted}", "has no network to export", "head=linear")
    assert_refused(quantize("fitted"), "has no network to export")
    assert not RunFolder(copied.runs_dir, copied.fitted).models.exists()


def test_of_a_sweep_the_best_that_can_be_exported_become_models(quantize, copied):
    status, out, err = quantize("mixed", "--calibration", "16")
    assert status == 0, err
    assert f"Left out: {copied.fitted}" in err
    assert f"models/ of {copied.grey}" in out


def test_a_criterion_that_is_none(quantize):
    assert_refused(quantize("tiny", "--by", "test_accuracy"), "spoil the test")
    assert_refused(quantize("tiny", "--by", "valid_los"), "did you mean valid_loss")
    assert_refused(quantize("tiny", "--best", "0"), "--best 0")


def test_a_cpu_without_int8_instructions_is_told_not_to_expect_speed(monkeypatch, capsys):
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset({"avx2", "avx512f"}))
    warn_without_int8()
    assert "do not expect a speed-up" in capsys.readouterr().err
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset({"avx_vnni"}))
    warn_without_int8()
    assert capsys.readouterr().err == ""

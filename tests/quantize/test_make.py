"""The models of a run: they are small, tested on the whole test part, and made once."""

import json

import numpy as np
import pytest

from birds.cli.quantize import models_table, notes
from birds.core.spec import read_spec
from birds.core.store import RunFolder
from birds.data.reopen import reopened
from birds.use.quantize import make, onnx_int8
from birds.use.quantize.compare import falls
from birds.use.quantize.evidence import Evidence, Order
from birds.use.quantize.make import quantize_run
from birds.use.quantize.models import open_model, read_models
from birds.use.quantize.predict import predict_with_model

ORDER = Order(calibration=16)


def test_int8_is_smaller_and_says_nearly_the_same(models):
    twin = models["int8"].measured["against_fp32"]
    assert models["int8"].bytes < models["fp32"].bytes
    assert twin["images"] == 42
    assert twin["agreement"] >= 0.9
    assert not falls(twin["only_first_right"], twin["only_second_right"], 42)
    assert models["fp32"].measured["checkpoint"]["largest_log_probability_difference"] < 1e-3
    assert any(
        name.startswith("BatchNormalization")
        for name in models["int8"].measured["float_operations"]
    )
    assert not any(
        name.startswith(("Conv", "Gemm")) for name in models["int8"].measured["float_operations"]
    )


def test_every_metric_of_the_record_is_there(models, trained):
    record = RunFolder(trained.runs_dir, trained.keys[0]).record()
    of_the_record = {name for name in record.model_dump() if name.startswith(("test_", "valid_"))}
    assert of_the_record <= set(models["int8"].measured)
    noisy = models["fp32"].measured["test_accuracy_noise"]
    assert noisy == pytest.approx(record.value("test_accuracy_noise"), abs=1 / 42 + 1e-9)
    assert models["int8"].measured["test_accuracy_noise"][0] == pytest.approx(
        models["int8"].test_accuracy
    )
    assert models["fp32"].test_accuracy == pytest.approx(
        record.value("test_accuracy"), abs=1 / 42 + 1e-9
    )


def test_json_says_the_same_when_read_again(models, trained):
    folder = RunFolder(trained.runs_dir, trained.keys[0])
    assert {m.precision: m for m in read_models(folder)} == models
    said = json.loads((folder.models / "int8.json").read_text())
    assert said["file"] == "int8.onnx"
    assert said["classes"] == ["AMBER FINCH", "BLUE TIT", "GREEN WREN"]
    assert said["bytes"] == (folder.models / "int8.onnx").stat().st_size
    assert said["calibration"]["images"] == 16


def test_the_twin_takes_any_batch_and_predicts_each_photo_alone(models):
    given = np.random.default_rng(1).integers(0, 256, (5, 128, 128, 3), dtype=np.uint8)
    classify = open_model(models["int8"], threads=1)
    alone = np.concatenate([classify(given[k : k + 1]) for k in range(5)])
    assert np.allclose(classify(given), alone, atol=1e-5)


def test_calibration_images_are_unlabelled_ones_of_the_runs_split(trained):
    folder = RunFolder(trained.runs_dir, trained.keys[2])
    spec = read_spec(folder.spec_file.read_text())
    unlabelled = set(reopened(folder, spec).rows["unlabelled"].tolist())
    assert len(unlabelled) == 36
    few = Evidence(folder, spec, Order(calibration=8)).calibration.tolist()
    assert len(few) == 8
    assert set(few) < unlabelled
    assert set(Evidence(folder, spec, Order(calibration=10_000)).calibration) == unlabelled


def test_where_every_label_is_used_labelled_images_calibrate(trained):
    folder = RunFolder(trained.runs_dir, trained.keys[0])
    spec = read_spec(folder.spec_file.read_text()).model_copy(update={"split": 0})
    evidence = Evidence(folder, spec, Order(calibration=10_000))
    assert len(evidence.calibration) == 48
    assert set(evidence.calibration) == set(evidence.data.rows["labelled"])


def test_a_grey_run_without_a_test_under_noise_becomes_models_too(trained, grey_models):
    record = RunFolder(trained.runs_dir, trained.grey).record()
    assert grey_models["int8"].bytes < grey_models["fp32"].bytes
    assert "test_accuracy_noise" not in grey_models["fp32"].measured
    assert grey_models["fp32"].test_accuracy == pytest.approx(
        record.value("test_accuracy"), abs=1 / 42 + 1e-9
    )
    assert grey_models["int8"].image.model_dump() == {
        "size": 28,
        "channels": 1,
        "resize": "squash",
    }
    assert not any(
        name.startswith(("Conv", "Gemm"))
        for name in grey_models["int8"].measured["float_operations"]
    )


def test_asked_twice_it_works_once_and_what_was_cut_short_is_redone(models, copied, monkeypatch):
    folder = RunFolder(copied.runs_dir, copied.keys[0])
    exports = []
    file = models["fp32"].path.read_bytes()  # of the same run, to save further exports
    monkeypatch.setattr(make, "exported", lambda *given: exports.append(1) or file)
    first = quantize_run(folder, ORDER)
    assert quantize_run(folder, ORDER) == sorted(first, key=lambda model: model.name)
    assert len(exports) == 1
    path = folder.models / "int8.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert [model.precision for model in read_models(folder)] == ["fp32"]
    quantize_run(folder, ORDER)
    assert len(exports) == 2
    assert path.read_bytes() == whole
    (folder.models / "int8.json").write_text('{"name": "int8"')
    assert [model.precision for model in read_models(folder)] == ["fp32"]
    quantize_run(folder, Order(calibration=8))
    assert len(exports) == 3
    assert {m.precision: m.calibration.get("images") for m in read_models(folder)} == {
        "fp32": None,
        "int8": 8,
    }


def test_where_int8_loses_too_much_the_worst_layers_go_back_to_float(models, copied, monkeypatch):
    """Here everything counts as a loss, and only two layers are known: both end in float, worst
    first.
    """
    layers, file = onnx_int8.layers, models["fp32"].path.read_bytes()
    monkeypatch.setattr(make, "exported", lambda *given: file)
    monkeypatch.setattr(onnx_int8, "layers", lambda source: layers(source)[:2])
    monkeypatch.setattr(make, "falls", lambda *counts, known: True)
    monkeypatch.setattr(make, "PROBED", 8)
    int8 = quantize_run(RunFolder(copied.runs_dir, copied.keys[0]), ORDER)[-1]
    error = int8.measured["sensitivity"]
    assert int8.measured["kept_in_float"] == list(error)
    assert list(error.values()) == sorted(error.values(), reverse=True)
    assert all(value > 0 for value in error.values())
    assert int8.measured["decided_on"] == ["valid"]
    assert any(operation.startswith("Conv") for operation in int8.measured["float_operations"])


def test_openvino_makes_its_own(models, copied, monkeypatch):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    pytest.importorskip("nncf", reason="the extra openvino is not installed")
    file = models["fp32"].path.read_bytes()
    monkeypatch.setattr(make, "exported", lambda *given: file)
    made = {
        m.precision: m
        for m in quantize_run(RunFolder(copied.runs_dir, copied.keys[0]), Order("openvino", 16))
    }
    assert {"fp32", "int8"} <= set(made)
    assert made["int8"].measured["against_fp32"]["agreement"] >= 0.9
    assert made["int8"].path.name == "openvino-int8.xml"
    assert made["fp32"].measured["checkpoint"]["largest_log_probability_difference"] < 1e-3
    wide = np.random.default_rng(2).integers(0, 256, (2, 150, 140, 3), dtype=np.uint8)
    for given in (
        wide[:, :128, :128],
        wide,
    ):  # the model's size, which is not resized, and another
        ours, theirs = (
            open_model(m, threads=1)(np.ascontiguousarray(given))
            for m in (made["fp32"], models["fp32"])
        )
        assert np.abs(ours - theirs).max() < 0.02
    photo = next((copied.root / "test").glob("*/000.png"))
    ours, theirs = (
        predict_with_model(m.path, [photo])[0].ranked[0][0] for m in (made["int8"], models["int8"])
    )
    assert ours == theirs


def test_the_table_names_every_model(models):
    text = models_table(list(models.values()))
    assert len(text.splitlines()) == 4
    assert "A split=50 seed=0 int8" in text
    assert "All numbers are for the 42 test images" in notes(list(models.values()))
    assert "neither bf16 nor fp16" in notes(list(models.values()))

"""Compiled training: told by measurement and remembered, never worse than eager, and the same
checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from contracts.test_configs import spec

from birds.core.machine import Machine
from birds.core.spec import ClassifySpec, Runtime, read_spec
from birds.data.photos import read_photos
from birds.encoders import build_encoder
from birds.encoders.unet import Encoder
from birds.methods import compiling
from birds.methods.compiling import compile_where_it_pays, speedup
from birds.train.run import run

SPEC = spec("variant=A", "encoder.widths=[8,12,16]", "budget.classify.batch=4")


class Elsewhere(Machine):
    """A device that is no CPU, as far as can be had everywhere."""

    def record(self) -> dict[str, Any]:
        return {"device_name": "elsewhere"}


def runtime(folder: Path, **choices: Any) -> Runtime:
    return Runtime(runs_dir=folder, cache_dir=folder, data_root=folder, **choices)


def is_compiled(encoder: Encoder) -> bool:
    return encoder._compiled_call_impl is not None


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are captured, forward and backward, but no C++ is compiled."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def test_a_speedup_is_measured_on_copies(quick: None) -> None:
    encoder = build_encoder(SPEC.encoder)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    assert 0.1 < speedup(encoder, torch.zeros(2, 3, 64, 64)) < 10
    assert not is_compiled(encoder)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_what_does_not_compile_is_no_speedup(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **options: Any) -> Callable[..., Any]:
        def call(*args: Any) -> None:
            raise RuntimeError("no C++ compiler")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    assert speedup(build_encoder(SPEC.encoder), torch.zeros(2, 3, 64, 64)) == 0


@pytest.mark.parametrize(("found", "compiled"), [(1.3, True), (1.02, False), (0.0, False)])
def test_auto_measures_once_and_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: float, compiled: bool
) -> None:
    asked: list[torch.Size] = []

    def measured(encoder: Encoder, photo: torch.Tensor) -> float:
        asked.append(photo.shape)
        return found

    monkeypatch.setattr(compiling, "speedup", measured)
    machine = Elsewhere(torch.device("meta"), "bf16", 1)
    for _ in range(2):
        encoder = build_encoder(SPEC.encoder)
        assert compile_where_it_pays(encoder, SPEC, machine, runtime(tmp_path)) is compiled
        assert is_compiled(encoder) is compiled
    assert asked == [(4, 3, 128, 128)]
    other = spec("variant=A", "encoder.widths=[8,12,16]", "budget.classify.batch=8")
    compile_where_it_pays(build_encoder(SPEC.encoder), other, machine, runtime(tmp_path))
    assert len(asked) == 2, "another batch is another question"


@pytest.mark.parametrize(("asked", "compiled"), [("auto", False), (False, False), (True, True)])
def test_a_cpu_is_left_alone_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Any, compiled: bool
) -> None:
    monkeypatch.setattr(compiling, "speedup", None)
    encoder = build_encoder(SPEC.encoder)
    machine = Machine(torch.device("cpu"), "32", 1)
    assert (
        compile_where_it_pays(encoder, SPEC, machine, runtime(tmp_path, compile=asked)) is compiled
    )
    assert is_compiled(encoder) is compiled


def test_a_compiled_run_is_the_same_run(
    tmp_path: Path, quick: None, write_photos: Callable[[Path, dict[str, int]], Path]
) -> None:
    root = write_photos(tmp_path / "photos", {f"train/{name}": 12 for name in ("A", "B")})
    choice = {"species": 2, "move_to_test": 4, "seed": 0}
    digest = read_photos(root, tmp_path, **choice).digest
    asked = spec("variant=B2", "encoder.widths=[8,12,16]", "budget=smoke", "split=50").model_dump(
        mode="json"
    )
    for one in (asked, asked["pretrained"]):
        one["data"] |= choice | {"digest": digest, "name": "folder"}
    chosen = read_spec(ClassifySpec.model_validate(asked).model_dump_json())
    shown = {}
    for compiled in (False, True):
        where = {
            "runs_dir": tmp_path / str(compiled),
            "cache_dir": tmp_path / "cache",
            "data_root": root,
        }
        record = run(
            chosen,
            Runtime(**where, device="cpu", precision="32", tracking="none", compile=compiled),
        )
        assert record.value("compiled") is compiled
        shown[compiled] = record
    assert shown[True].key == shown[False].key
    for name in ("cost_flops_per_photo", "cost_parameters"):
        assert shown[True].value(name) == shown[False].value(name)
    assert shown[True].value("test_loss") == pytest.approx(
        shown[False].value("test_loss"), rel=1e-3
    )

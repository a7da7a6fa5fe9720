"""Compiled training: chosen by a measurement that is saved, never slower than eager, and with the
same checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import spec
from made_specs import SMALL, fitted, given, job_for
from small_data import data_for

from birds.core.machine import Machine
from birds.core.spec import RunSpec
from birds.encoders import Encoder, create_encoder
from birds.methods import Job, compiling
from birds.methods.compiling import compile_where_it_pays, speedup

SPEC = spec("variant=A", "encoder.widths=[8,12,16]", "split=50", "budget.classify.batch=4")


class Elsewhere(Machine):
    """A device that pretends not to be a CPU."""

    def record(self) -> dict[str, Any]:
        return {"device_name": "elsewhere"}


def encoder_of(run: RunSpec) -> Encoder:
    return create_encoder(run.encoder, run.image)


def is_compiled(encoder: Encoder) -> bool:
    return encoder._compiled_call_impl is not None


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capture graphs, forward and backward, without compiling C++."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def test_a_speedup_is_measured_on_copies(quick: None) -> None:
    encoder = encoder_of(SPEC)
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
    assert speedup(encoder_of(SPEC), torch.zeros(2, 3, 64, 64)) == 0


def job_elsewhere(run: RunSpec, root: Path) -> Job:
    job = job_for(run, data_for(run), root, compile="auto")
    machine = Elsewhere(torch.device("meta"), "bf16", 1)
    return Job(**{**vars(job), "machine": machine})


@pytest.mark.parametrize(("found", "compiled"), [(1.3, True), (1.02, False), (0.0, False)])
def test_auto_measures_once_and_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: float, compiled: bool
) -> None:
    asked: list[torch.Size] = []

    def measured(encoder: Encoder, image: torch.Tensor) -> float:
        asked.append(image.shape)
        return found

    monkeypatch.setattr(compiling, "speedup", measured)
    for _ in range(2):
        encoder = encoder_of(SPEC)
        assert compile_where_it_pays(encoder, job_elsewhere(SPEC, tmp_path)) is compiled
        assert is_compiled(encoder) is compiled
    assert asked == [(4, 3, 128, 128)]
    for words in ("budget.classify.batch=8", "image.channels=1", "image.size=64"):
        other = spec("variant=A", "encoder.widths=[8,12,16]", "split=50", words)
        compile_where_it_pays(encoder_of(other), job_elsewhere(other, tmp_path))
    assert len(asked) == 4, "another batch or image is another question"


@pytest.mark.parametrize(("asked", "compiled"), [("auto", False), (False, False), (True, True)])
def test_a_cpu_is_left_alone_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Any, compiled: bool
) -> None:
    monkeypatch.setattr(compiling, "speedup", None)
    encoder = encoder_of(SPEC)
    job = job_for(SPEC, data_for(SPEC), tmp_path, compile=asked)
    assert compile_where_it_pays(encoder, job) is compiled
    assert is_compiled(encoder) is compiled


def test_a_compiled_run_is_the_same_run(tmp_path: Path, quick: None) -> None:
    chosen = spec("variant=B2", *SMALL)
    found = {}
    for compiled in (False, True):
        root = tmp_path / str(compiled)
        job = job_for(chosen, data_for(chosen), root, given(chosen), compile=compiled)
        _, found[compiled] = fitted(job)
        assert found[compiled]["compiled"] is compiled
    for name in ("cost_flops_per_image", "cost_parameters"):
        assert found[True][name] == found[False][name]
    assert found[True]["test_loss"] == pytest.approx(found[False]["test_loss"], rel=1e-3)

"""encode=auto takes the faster way, once for all runs on the same images and encoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from composing import spec
from made_specs import TINY, job_for
from small_data import data_for

from birds.core.errors import UserError
from birds.encoders import seeded_encoder
from birds.methods import Job, encode_choice
from birds.methods.encode_choice import measured_ways, way_of
from birds.methods.features import features_of

pytest.importorskip("onnxruntime")


def asked(root: Path, **choices: str) -> Job:
    made = spec("variant=B0", "head=svm", *TINY)
    return job_for(made, data_for(made), root, **choices)


def test_few_images_are_encoded_by_pytorch_without_an_export(tmp_path: Path) -> None:
    job = asked(tmp_path, encode="auto")
    encoder = seeded_encoder(job.spec)
    found = measured_ways(encoder, job)
    assert found["way"] == "eager"
    assert set(found) == {"way", "eager"}
    assert float(found["eager"]) > 0
    assert way_of(encoder, job) == "eager"


@pytest.mark.parametrize(("pays", "way"), [(0.0, "onnx"), (1e9, "eager")])
def test_both_ways_are_timed_where_an_export_is_worth_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pays: float, way: str
) -> None:
    monkeypatch.setattr(encode_choice, "WORTH", 0.0)
    monkeypatch.setattr(encode_choice, "PAYS", pays)
    job = asked(tmp_path, encode="auto")
    encoder = seeded_encoder(job.spec)
    assert way_of(encoder, job) == way
    assert len(list(job.runtime.cache_dir.glob("encode-*.json"))) == 1
    monkeypatch.setattr(encode_choice, "PAYS", 1.0)
    assert way_of(encoder, job) == way, "the choice is kept"
    found = features_of(encoder, job, "test")
    direct = features_of(encoder, asked(tmp_path / "other", encode="eager"), "test")
    assert np.allclose(found, direct, atol=1e-4 * np.abs(direct).max())
    same_as_asked = features_of(encoder, asked(tmp_path, encode=way), "test")
    assert np.array_equal(found, same_as_asked)
    assert len(list(job.runtime.cache_dir.glob("features-*.npy"))) == 1


def test_an_encoder_that_onnx_runtime_cannot_run_is_run_by_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode_choice, "WORTH", 0.0)
    job = asked(tmp_path, encode="auto")
    encoder = seeded_encoder(job.spec)

    class Refusing(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            return [image * image.sum().item()] if image.sum().item() > 3 else []

    monkeypatch.setattr(encoder, "for_export", Refusing)
    found = measured_ways(encoder, job)
    assert found["way"] == "eager"
    assert "cannot be exported" in str(found["refused"])
    with pytest.raises(UserError, match="cannot be exported"):
        features_of(encoder, dataclasses.replace(job, runtime=_onnx(job)), "test")


def _onnx(job: Job) -> object:
    return job.runtime.model_copy(update={"encode": "onnx"})

"""A frozen encoder does not change, and stored features give the same results as encoding in every
step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import needed, spec
from made_specs import CPU, SMALL, TINY, fitted, given, job_for, loaded
from small_data import cut, data_for, images, noise_pixels, striped_data_for
from torch import Tensor

from birds.data.module import ImageData
from birds.methods import create_method
from birds.methods.classify._by_gradient import GradientClassifier

pytestmark = pytest.mark.filterwarnings("ignore")


def weights_of(module: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_features_once_equal_the_encoder_every_step(tmp_path: Path) -> None:
    made = spec(
        "variant=B1", *SMALL, "budget.views=2", "budget.frozen.epochs=6", "budget.frozen.lr=0.05"
    )
    logits = {}
    for features in ("live", "cached"):
        root = tmp_path / features
        job = job_for(made, data_for(made), root, given(made), features=features)
        method, _ = fitted(job)
        logits[features] = method.predictions()["test"]["logits"]
        assert (job.data._features is None) is (features == "live")
    assert (logits["live"] - logits["live"].mean()).abs().max() > 0.05, "it learned nothing"
    torch.testing.assert_close(logits["cached"], logits["live"], atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("features", ["live", "cached"])
@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("variant=B1", True),
        ("variant=B0", True),
        ("variant=B1 head=mlp", True),
        ("variant=B1 head=svm", True),
        ("variant=B2", False),
    ],
)
def test_a_frozen_encoder_is_bit_equal_afterwards(
    tmp_path: Path, words: str, same: bool, features: str
) -> None:
    """Its weights and its BatchNorm statistics."""
    made = spec(*words.split(), *SMALL)
    job = job_for(made, data_for(made), tmp_path, given(made), features=features)
    before = weights_of(create_method(job).encoder)
    method, _ = fitted(job)
    after = weights_of(method.encoder)
    assert any("running_var" in name for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before) is same
    found = weights_of(loaded(job).encoder)
    assert all(torch.equal(found[name], after[name]) for name in found)


@pytest.mark.parametrize("stages", [1, 2])
def test_last_stages_are_trained_and_the_ones_before_are_bit_equal(
    tmp_path: Path, stages: int
) -> None:
    made = spec("variant=B2", *SMALL, "train=last_stages", f"last_stages={stages}")
    job = job_for(made, data_for(made), tmp_path, given(made))
    before = weights_of(create_method(job).encoder)
    method, _ = fitted(job)
    after = weights_of(method.encoder)
    for level in range(3):
        own = [name for name in before if name.startswith(f"levels.{level}.")]
        same = all(torch.equal(before[name], after[name]) for name in own)
        assert same is (level < 3 - stages)


def test_every_variant_starts_from_the_same_encoder_and_head() -> None:
    """A variant with a pretraining then replaces the encoder's weights."""
    made = [spec("variant=A", *SMALL), spec("variant=B2", *SMALL)]
    scratch, tuned = (GradientClassifier(run, ("A", "B", "C"), 4) for run in made)
    for (name, a), b in zip(scratch.state_dict().items(), tuned.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_pretraining_sees_the_unlabelled_and_classifiers_the_labelled_images() -> None:
    unlabelled = set(data_for(needed("variant=B2", *SMALL)).rows["train"])
    labelled = set(data_for(spec("variant=B2", *SMALL)).rows["train"])
    assert unlabelled.isdisjoint(labelled)
    assert unlabelled | labelled == set(images().rows("train"))


def test_an_epoch_shows_every_image_once_a_pass_and_the_same_again() -> None:
    made = spec("variant=A", *SMALL, "budget=laptop", "budget.classify.min_steps=3")
    data = data_for(made)
    shown = [batch["row"].tolist() for batch in data.train_dataloader()]
    assert len(shown) == data.steps_per_epoch == 3
    rows = [row for batch in shown for row in batch]
    assert sorted(rows) == sorted(3 * data.rows["train"].tolist())
    assert shown == [batch["row"].tolist() for batch in data_for(made).train_dataloader()]


def test_a_view_does_not_depend_on_its_batch() -> None:
    data = data_for(spec("variant=A", *SMALL))
    batch = data.batch("train", [(5, 0), (5, 1), (6, 0)])
    together = data.on_after_batch_transfer(batch, 0)["image"]
    alone = data.on_after_batch_transfer(data.batch("train", [(5, 1)]), 0)["image"]
    torch.testing.assert_close(together[1:2], alone)
    assert (together[0] - together[2]).abs().mean() > 0.01


@pytest.mark.parametrize("make", [spec, needed], ids=["classifier", "pretraining"])
def test_images_held_on_the_device_make_the_same_batches(make: Any) -> None:
    """As on a GPU, but here on the CPU: batches from one tensor, which includes the wider pool."""
    made = make("variant=B2", *SMALL)
    gathered, held = data_for(made), data_for(made)
    for data in (gathered, held):
        data.pool = np.random.default_rng(1).integers(0, 256, (5, 128, 128, 3), dtype=np.uint8)
        data.label = np.append(data.label, np.full(5, -1))
        data.rows["train"] = np.append(data.rows["train"], 60 + np.arange(5))
        data.rows["unlabelled"] = np.append(data.rows["unlabelled"], 60 + np.arange(5))
    held.keep_on(CPU)
    places = [(0, len(held.rows["train"]) - 1), (3, 0), (1, 2)]
    assert "image" not in held.batch("train", places)  # only numbers are copied to the device
    for part in ("train", "test"):
        batches = []
        for data in (gathered, held):
            batches.append(data.on_after_batch_transfer(data.batch(part, places[1:]), 0))
        assert batches[0].keys() == batches[1].keys()
        assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])
    for plain in (False, True):
        seen = [data.unlabelled(3, CPU, plain=plain)["image"] for data in (gathered, held)]
        assert torch.equal(*seen)
    last = []
    for data in (gathered, held):
        last.append(data.on_after_batch_transfer(data.batch("train", places), 0)["image"][0])
    assert torch.equal(*last)
    assert last[0].std() > 0.1


@pytest.mark.parametrize("words", ["variant=A", "variant=B1", "variant=B0 head=logistic"])
def test_training_accuracy_is_that_of_the_labelled_images_as_they_are(
    tmp_path: Path, words: str
) -> None:
    made = spec(*words.split(), *TINY)
    job = job_for(made, striped_data_for(made), tmp_path, given(made))
    _, measured = fitted(job)
    classifier = loaded(job)
    right = []
    with torch.no_grad():
        for batch in striped_data_for(made).evaluation_batches("labelled"):
            right.append(classifier(batch["image"]).argmax(1) == batch["label"])
    assert len(torch.cat(right)) == len(job.data.rows["labelled"])
    assert measured["train_accuracy"] == pytest.approx(torch.cat(right).double().mean().item())


def test_more_batches_in_parts_are_as_many_steps() -> None:
    made = spec("variant=A", *SMALL)
    whole = data_for(made)
    table = images()
    parts = ImageData(made, table, noise_pixels(), cut(table, made), accumulate=2)
    assert parts.accumulate == 2
    assert parts.steps_per_epoch == whole.steps_per_epoch
    rows = [batch["row"].tolist() for batch in parts.train_dataloader()]
    assert len(rows) == 2 * whole.steps_per_epoch
    shown = [batch["row"].tolist() for batch in whole.train_dataloader()]
    assert sorted(rows[0] + rows[1]) == sorted(shown[0])

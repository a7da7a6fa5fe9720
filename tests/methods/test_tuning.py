"""Fine-tuning that keeps what was learnt: rates by depth, fixed BatchNorm, averaged weights, joint
training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import spec
from made_specs import CPU, SMALL, claimed, fitted, given, job_for, loaded
from small_data import cut, data_for, images, noise_pixels

from birds.core.checkpoint import saved_weights
from birds.core.spec import RunSpec
from birds.core.store import Stopped
from birds.data.module import ImageData
from birds.methods import Job, create_method
from birds.methods.callbacks import Curves
from birds.methods.classify._by_gradient import GradientClassifier
from birds.methods.pretraining.autoencoder import Autoencoder

pytestmark = pytest.mark.filterwarnings("ignore")


def untrained(run: RunSpec, root: Path) -> Any:
    return create_method(job_for(run, data_for(run), root, given(run)))


def pretrained(run: RunSpec) -> tuple[Autoencoder, ...]:
    """An untrained autoencoder as the pretraining."""
    return tuple(Autoencoder(needed, 4).eval() for needed in run.needs)


def trained(run: RunSpec, root: Path) -> tuple[Job, Any]:
    job = job_for(run, data_for(run), root, pretrained(run))
    method, _ = fitted(job)
    return job, method


def kept(job: Job) -> dict[str, torch.Tensor]:
    """The weights that the run saves."""
    return saved_weights(job.folder)


def test_deeper_levels_learn_faster_and_the_head_fastest(tmp_path: Path) -> None:
    made = spec("variant=B2", *SMALL, "lr_decay=0.5")
    method = untrained(made, tmp_path)
    optimizer = method.configure_optimizers()["optimizer"]
    name_of = {id(parameter): name for name, parameter in method.named_parameters()}
    rates = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            rates[name_of[id(parameter)]] = group["initial_lr"]
    counted = sum(len(group["params"]) for group in optimizer.param_groups)
    assert counted == len(rates) == len(list(method.parameters())), "trained twice or never"
    lr = made.training.lr if made.training else 0
    assert {rate for name, rate in rates.items() if name.startswith("head")} == {lr}
    for level in range(3):
        own = {rate for name, rate in rates.items() if name.startswith(f"encoder.levels.{level}.")}
        assert own == {lr * 0.5 ** (3 - level)}


def test_one_rate_for_all_is_two_groups_as_ever(tmp_path: Path) -> None:
    optimizer = untrained(spec("variant=B2", *SMALL), tmp_path).configure_optimizers()["optimizer"]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]


@pytest.mark.parametrize(("batchnorm", "moves"), [("train", True), ("frozen", False)])
def test_batchnorm_statistics_follow_or_stay_while_weights_learn(
    tmp_path: Path, batchnorm: str, moves: bool
) -> None:
    made = spec("variant=B2", *SMALL, f"batchnorm={batchnorm}")
    job = job_for(made, data_for(made), tmp_path, given(made))
    before = {name: value.clone() for name, value in job.given[0].encoder.state_dict().items()}
    method, _ = fitted(job)
    after = method.encoder.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("running_mean" in name for name in changed) is moves
    assert any(name.endswith("weight") for name in changed)


def test_averaged_weights_are_what_is_evaluated_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The average is computed here, too: decay x average + (1 - decay) x weights, at each step."""
    average: dict[str, torch.Tensor] = {}
    raw: dict[str, torch.Tensor] = {}
    seen = []

    def trail(self: Any, trainer: Any, method: Any, *rest: Any) -> None:
        for name, value in method.named_parameters():
            raw[name] = value.detach().clone()
            average[name] = 0.8 * average.get(name, raw[name]) + 0.2 * raw[name]

    validate = GradientClassifier.validation_step

    def remember(self: Any, batch: Any, index: int) -> None:
        seen.append(self.head.linear.weight.detach().clone())
        validate(self, batch, index)

    monkeypatch.setattr(Curves, "on_train_batch_end", trail, raising=False)
    monkeypatch.setattr(GradientClassifier, "validation_step", remember)
    last = "budget.classify.best_from=0.99"  # keeps the last epoch
    made = spec("variant=A", *SMALL, "ema=0.8", "budget.classify.lr=0.05", last)
    job, _ = trained(made, tmp_path)
    alone = GradientClassifier(made, ("A", "B", "C"), 1)
    assert set(kept(job)) == set(alone.state_dict()), "the checkpoint holds more"
    for name, value in average.items():
        torch.testing.assert_close(kept(job)[name], value)
    distance = raw["head.linear.weight"] - kept(job)["head.linear.weight"]
    assert distance.abs().max() > 1e-3
    torch.testing.assert_close(seen[-1], kept(job)["head.linear.weight"])


def test_without_averaging_the_last_weights_are_kept(tmp_path: Path) -> None:
    made = spec("variant=A", *SMALL, "budget.classify.best_from=0.99")
    job, method = trained(made, tmp_path)
    state = method.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in kept(job).items())
    again = loaded(job).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in kept(job).items())


JOINT = ("variant=B2", *SMALL, "pretraining=masked")


def test_joint_training_restores_unlabelled_images_and_leaves_a_classifier_alone(
    tmp_path: Path,
) -> None:
    made = spec(*JOINT, "extra_loss=joint", "budget.classify.lr=0.01")
    (source,) = pretrained(made)
    decoder = source.decoder.out.weight.detach().clone()
    job = job_for(made, data_for(made), tmp_path, (source,))
    method, measured = fitted(job)
    assert not torch.equal(decoder, source.decoder.out.weight), "the decoder learned nothing"
    alone = GradientClassifier(made, ("A", "B", "C"), 1)
    assert set(kept(job)) == set(alone.state_dict())
    assert method.beside is None, "what was learnt beside it is over"
    count = sum(parameter.numel() for parameter in alone.parameters())
    assert measured["cost_parameters"] == count
    assert "train_beside_loss" in job.folder.curves_file.read_text().splitlines()[0]


def test_joint_training_with_weight_nought_is_fine_tuning(tmp_path: Path) -> None:
    """Unlabelled images then change neither the weights nor the BatchNorm statistics."""
    joint, _ = trained(spec(*JOINT, "extra_loss=joint", "extra_loss.weight=0"), tmp_path / "joint")
    tuned, _ = trained(spec(*JOINT), tmp_path / "tuned")
    for name, value in kept(tuned).items():
        torch.testing.assert_close(kept(joint)[name], value, msg=name)
    heavy, _ = trained(spec(*JOINT, "extra_loss=joint", "extra_loss.weight=5"), tmp_path / "heavy")
    deep = "encoder.levels.2.0.weight"
    assert not torch.allclose(kept(heavy)[deep], kept(tuned)[deep])


def test_what_stands_beside_is_unlabelled_and_the_same_again() -> None:
    made = spec(*JOINT, "extra_loss=joint")
    data = data_for(made)
    table, pixels = images(), noise_pixels()
    split = cut(table, made)
    assert sorted(data.rows["unlabelled"]) == sorted(split.unlabelled)
    seen = data.unlabelled(3, CPU)
    again = ImageData(made, table, pixels, split).unlabelled(3, CPU)
    assert set(seen) == {"image", "row"}, "a label is given away"
    assert all(torch.equal(seen[name], again[name]) for name in seen)
    assert not torch.equal(seen["image"], data.unlabelled(4, CPU)["image"])
    plain = data.unlabelled(3, CPU, plain=True)
    assert torch.equal(seen["row"], plain["row"])
    as_bytes = (255 * plain["image"]).round().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(as_bytes, pixels[plain["row"]])


@pytest.mark.parametrize("variant", ["B0", "B1"])
def test_the_untrained_control_is_frozen_at_the_weights_that_training_starts_from(
    tmp_path: Path, variant: str
) -> None:
    made = spec(f"variant={variant}", *SMALL)
    start = untrained(spec("variant=A", *SMALL), tmp_path / "A").encoder.state_dict()
    job = job_for(made, data_for(made), tmp_path, given(made))
    method, _ = fitted(job)
    after = method.encoder.state_dict()
    assert all(torch.equal(start[name], after[name]) for name in start) is (variant == "B0")
    assert not any(parameter.requires_grad for parameter in method.encoder.parameters())


@pytest.mark.parametrize(
    "words", ["variant=A ema=0.8 lr_decay=0.8", "variant=B2 extra_loss=joint", "variant=KM"]
)
def test_stopped_and_asked_again_equals_undisturbed(tmp_path: Path, words: str) -> None:
    epochs = "budget.classify.epochs=4"
    made = spec(*words.split(), *SMALL, epochs, "budget.classify.lr=0.01")
    undisturbed, _ = trained(made, tmp_path / "whole")
    job = job_for(made, data_for(made), tmp_path / "stopped", pretrained(made))
    calls = iter([False, False, True])
    stopping = Job(**{**vars(job), "should_stop": lambda: next(calls)})
    with pytest.raises(Stopped), claimed(stopping):
        create_method(stopping).fit(stopping)
    rows = job.folder.curves_file.read_text().splitlines()
    assert len(rows) == 1 + 2
    again, _ = trained(made, tmp_path / "stopped")
    assert len(again.folder.curves_file.read_text().splitlines()) == 1 + 4
    for name, value in kept(undisturbed).items():
        assert torch.equal(kept(again)[name], value), name

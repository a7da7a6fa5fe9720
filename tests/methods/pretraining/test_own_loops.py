"""A pretraining that steps two optimizers by hand works in all stages like every other one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed, spec
from made_parts import Duel
from made_specs import TINY, job_for, runtime_in
from small_data import data_for, write_striped

from birds.core.checkpoint import read_checkpoint
from birds.core.spec import Part, RunSpec, Runtime
from birds.core.store import RunFolder, Stopped
from birds.data.deal import read_images
from birds.data.prepare import create_source
from birds.launch.chosen import spec_from_config
from birds.methods import create_method
from birds.train.run import run

pytestmark = pytest.mark.filterwarnings("ignore")
DUEL = {"name": "duel", "part": "made_parts:Duel", "latent": 3}
WORDS = (*TINY, "data=folder", "data.classes=3", "variant=B1", "budget.pretrain.patience=1")


@pytest.fixture
def where(tmp_path: Path) -> Runtime:
    root = write_striped(tmp_path / "images")
    (tmp_path / "cache").mkdir()
    return runtime_in(tmp_path, source=Part(name="folder", options={"root": str(root)}))


def duel(where: Runtime, *words: str, **options: Any) -> RunSpec:
    """The classifier that starts from a duel."""
    images = read_images(create_source(where.source), where.cache_dir, classes=3, seed=0)
    values = composed(*WORDS, *words) | {"pretraining": DUEL | options}
    return spec_from_config(values, images.digest)


def test_it_goes_the_whole_road_and_keeps_its_last_epoch(where: Runtime) -> None:
    made = duel(where, "budget.pretrain.epochs=3", "budget.pretrain.max_steps=2")
    record = run(made, where)
    assert record.value("choice.needs.method.part") == "made_parts:Duel"
    assert record.value("choice.needs.method.options.latent") == 3
    (needed,) = made.needs
    pretrained = run(needed, where)
    assert (pretrained.value("epochs"), pretrained.value("best_epoch")) == (3, 2)
    kept = read_checkpoint(RunFolder(where.runs_dir, needed).checkpoint("best"))
    assert kept is not None
    steps = 3 * min(2, -(-18 // 32))
    assert kept["state_dict"]["steps"].tolist() == [steps, steps], "both optimizers stepped"
    assert pretrained.value("cost_images_per_second") > 0
    curves = RunFolder(where.runs_dir, needed).curves_file.read_text().splitlines()
    assert "train_loss" in curves[0].split(",")
    assert len(curves) == 1 + 3


def test_its_encoder_learned_and_the_classifier_starts_from_it(where: Runtime) -> None:
    made = duel(where)
    run(made, where)
    folder = RunFolder(where.runs_dir, made.needs[0])
    finished = Duel.load(made.needs[0], folder).encoder.state_dict()
    untrained = Duel(made.needs[0], 1).encoder.state_dict()
    assert not all(torch.equal(finished[name], untrained[name]) for name in finished)
    kept = read_checkpoint(RunFolder(where.runs_dir, made).checkpoint("best"))
    assert kept is not None
    weights = kept["state_dict"]
    assert all(torch.equal(weights[f"encoder.{name}"], finished[name]) for name in finished)


def test_stopped_and_asked_again_equals_undisturbed(where: Runtime, tmp_path: Path) -> None:
    made = duel(where, "budget.pretrain.epochs=4").needs[0]
    run(made, where)
    elsewhere = where.model_copy(update={"runs_dir": tmp_path / "elsewhere"})
    answers = iter([False, False, True])
    with pytest.raises(Stopped):
        run(made, elsewhere, lambda: next(answers))
    run(made, elsewhere)
    weights = []
    for runtime in (where, elsewhere):
        checkpoint = read_checkpoint(RunFolder(runtime.runs_dir, made).checkpoint("best"))
        assert checkpoint is not None
        weights.append(checkpoint["state_dict"])
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_the_trainer_neither_clips_nor_accumulates_for_it(tmp_path: Path) -> None:
    """Lightning refuses both if a method steps by hand."""
    needed = spec("variant=B2", *TINY).needs[0]
    method = Part(name="duel", part="made_parts:Duel", options={"latent": 3})
    made = needed.model_copy(update={"method": method})
    job = job_for(made, data_for(made), tmp_path)
    job.data.accumulate = 2
    duelling = create_method(job)
    trainer = duelling._new_trainer(job, None)
    assert trainer.gradient_clip_val is None
    assert trainer.accumulate_grad_batches == 1
    usual = create_method(job_for(needed, data_for(needed), tmp_path))
    job.data.accumulate = 2
    assert usual._new_trainer(job, None).accumulate_grad_batches == 2


def test_an_option_of_its_own_is_checked_and_in_the_key(where: Runtime) -> None:
    assert duel(where, latent=5).key != duel(where).key
    with pytest.raises(ValueError, match=r"pretraining\.latent=many"):
        duel(where, latent="many")
    with pytest.raises(ValueError, match=r"pretraining\.temperature: pretraining=duel has no such"):
        duel(where, temperature=1)
    with pytest.raises(ValueError, match="Halved lacks training_step"):
        duel(where, part="made_parts:Halved")

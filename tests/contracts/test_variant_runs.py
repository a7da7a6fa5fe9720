"""Every variant, and every head on a frozen encoder, from tiny images to a record and loading."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from composing import composed, options
from made_specs import TINY, runtime_in
from small_data import write_striped

from birds.core.parts import part_names
from birds.core.record import Record
from birds.core.spec import Part, RunSpec, Runtime, UserError
from birds.core.store import RunFolder
from birds.data.deal import read_images
from birds.data.prepare import create_source
from birds.data.reopen import reopened
from birds.launch.chosen import spec_from_config
from birds.methods import load_method
from birds.train.run import run

pytestmark = pytest.mark.filterwarnings("ignore")
WORDS = (*TINY, "data=folder", "data.classes=3")
LONGER = (  # enough steps for results far above chance, in a second or two
    "budget.classify.epochs=12",
    "budget.classify.min_steps=6",
    "budget.classify.max_steps=6",
    "budget.classify.lr=0.01",
    "budget.classify.augment=0",
    "budget.frozen.epochs=12",
    "budget.frozen.min_steps=6",
    "budget.frozen.max_steps=6",
    "budget.frozen.lr=0.01",
    "budget.frozen.augment=0",
)
GAN = "encoder=dcgan encoder.width=4 pretraining=dcgan pretraining.width=4 image.size=28"
OF_UNET = ("encoder=unet_xs", "encoder.widths=[8,12,16]")
OWN = {  # words that some variants need instead of those of the U-Net
    "Words": (
        "encoder.descriptor=dense_sift",
        "encoder.patch=8",
        "encoder.step=2",
        "encoder.words=12",
    )
}
TEST_IMAGES = 36
CHANCE = 1 / 3


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """A folder of striped images, and the runs folder that all tests here share."""
    root = tmp_path_factory.mktemp("variants")
    photos = write_striped(root / "images", counts={"train": 16, "valid": 4, "test": 12})
    return runtime_in(root, source=Part(name="folder", options={"root": str(photos)}))


def asked(runtime: Runtime, *words: str) -> RunSpec:
    source = create_source(runtime.source)
    images = read_images(source, runtime.cache_dir, classes=3, seed=0)
    return spec_from_config(composed(*words), images.digest)


def done(runtime: Runtime, *words: str) -> tuple[RunSpec, Record]:
    made = asked(runtime, *words)
    runtime.cache_dir.mkdir(exist_ok=True)
    return made, run(made, runtime)


def scores_again(made: RunSpec, runtime: Runtime, record: Record) -> torch.Tensor:
    """The scores of the test images by the loaded classifier."""
    folder = RunFolder(runtime.runs_dir, made)
    classifier = load_method(made, folder, record.value("classes"))
    data = reopened(folder, made)
    with torch.no_grad():
        found = [classifier(batch["image"]) for batch in data.evaluation_batches("test")]
    return torch.cat(found)


def holds(made: RunSpec, runtime: Runtime, record: Record) -> None:
    """Check what is true for the run of every finished classifier."""
    folder = RunFolder(runtime.runs_dir, made)
    values = json.loads(folder.record_file.read_text())
    assert values["key"] == made.key
    assert values["needs_keys"] == [needed.key for needed in made.needs]
    assert values["images_test"] == TEST_IMAGES
    assert values["choice.encoder.name"] == made.encoder.name
    assert values["choice.method.options.train"] == made.method.options["train"]
    assert (values["epochs"] == 0) is (made.training is None)
    saved = np.load(folder.predictions_file)
    right = saved["test_logits"].argmax(1) == saved["test_label"]
    assert right.mean() == pytest.approx(record.value("test_accuracy"))
    assert list(saved["classes"]) == record.value("classes")
    scores = scores_again(made, runtime, record)
    torch.testing.assert_close(scores, torch.from_numpy(saved["test_logits"]), atol=1e-4, rtol=1e-4)
    assert run(made, runtime) == record, "a finished run is done again"


@pytest.mark.parametrize("variant", options("variant"))
def test_every_variant_ends_in_a_record_and_is_loaded_with_equal_scores(
    variant: str, where: Runtime
) -> None:
    usual = [word for word in WORDS if variant not in OWN or word not in OF_UNET]
    made, record = done(where, *usual, f"variant={variant}", *OWN.get(variant, ()), *LONGER)
    holds(made, where, record)
    assert record.value("train_accuracy") > CHANCE + 0.2
    assert record.value("test_accuracy") > CHANCE + 0.2


@pytest.mark.parametrize("head", part_names("head"))
def test_every_head_on_a_frozen_encoder_beats_chance_and_is_loaded_with_equal_scores(
    head: str, where: Runtime
) -> None:
    made, record = done(where, *WORDS, "variant=B0", f"head={head}", *LONGER)
    holds(made, where, record)
    assert record.value("test_accuracy") > CHANCE + 0.2


@pytest.mark.parametrize(
    "words",
    [
        "variant=B2 train=last_stages",
        "variant=B2 extra_loss=joint pretraining=masked pretraining.patch=8",
        "variant=B1 head=svm pretraining=simclr",
        "variant=A encoder=simple_cnn image.channels=1",
        "variant=B2 encoder=simple_cnn",
        "variant=A split=0",
        "variant=KM data.labels_per_class=15",
        "variant=A data.labels_per_class=4",
        "variant=B1 head=knn +pretraining@pretraining.after=simclr",
        f"variant=B1 {GAN}",
        f"variant=B2 {GAN} image.channels=1",
    ],
)
def test_other_combinations_go_the_whole_road(words: str, where: Runtime) -> None:
    usual = [word for word in WORDS if word not in OF_UNET or "encoder=" not in words]
    own = {word.partition("=")[0] for word in words.split()}
    usual = [word for word in usual if word.partition("=")[0] not in own]
    made, record = done(where, *usual, *words.split())
    holds(made, where, record)


@pytest.mark.parametrize("words", ["variant=B2", "variant=FixMatch", "variant=B1 head=svm"])
@pytest.mark.parametrize("cut", ["split=0", "data.labels_per_class=16"])
def test_what_learns_from_unlabelled_images_is_refused_where_there_are_none(
    words: str, cut: str, where: Runtime
) -> None:
    made = asked(where, *WORDS, *words.split(), cut)
    with pytest.raises(UserError, match="learns from unlabelled images, and"):
        run(made, where)

"""A vocabulary of visual words that several heads share, from images to a record and loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from made_specs import runtime_in
from PIL import Image

from birds.core.record import Record
from birds.core.spec import Part, RunSpec, Runtime, UserError
from birds.core.store import RunFolder
from birds.data.deal import read_images
from birds.data.prepare import create_source
from birds.data.rendering.bird_photos import render_bird
from birds.data.reopen import reopened
from birds.launch.chosen import spec_from_config
from birds.methods import descriptions, load_method
from birds.methods.descriptions import Descriptions
from birds.methods.pretraining.vocabulary import Vocabulary, centres
from birds.methods.vectors import unlabelled_vectors
from birds.train.run import run
from birds.use.predict import predict

pytest.importorskip("cv2.xfeatures2d")
pytestmark = pytest.mark.filterwarnings("ignore")
SPECIES = (12, 13, 22)  # species of different shapes, because words are computed on grey images
EACH = {"train": 24, "valid": 3, "test": 16}
USUAL = ("variant=Words", "data=folder", "data.classes=3", "split=30", "budget=smoke")
USUAL = (*USUAL, "encoder.words=40", "robustness=false", "pretraining.starts=1")


def write_birds(root: Path) -> Path:
    """Drawn birds of three species in several sizes; one training image has a single colour."""
    number = 0
    for part, count in EACH.items():
        for species in SPECIES:
            folder = root / part / f"S{species}"
            folder.mkdir(parents=True)
            for k in range(count):
                number += 1
                photo = Image.fromarray(render_bird(species, number, size=112))
                photo.crop((0, 0, 112, 100 + number % 5)).save(folder / f"{k:02d}.png")
    Image.new("RGB", (90, 90), (120, 130, 140)).save(root / "train" / f"S{SPECIES[0]}" / "00.png")
    return root


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """A folder of birds, and the runs folder that all tests here share."""
    root = tmp_path_factory.mktemp("words")
    photos = write_birds(root / "images")
    runtime = runtime_in(root, source=Part(name="folder", options={"root": str(photos)}))
    runtime.cache_dir.mkdir()
    return runtime


def done(runtime: Runtime, *words: str) -> tuple[RunSpec, Record]:
    images = read_images(create_source(runtime.source), runtime.cache_dir, classes=3, seed=0)
    made = spec_from_config(composed(*USUAL, *words), images.digest)
    return made, run(made, runtime)


def test_words_beat_chance_on_the_embedded_birds_and_count_empty_images(where: Runtime) -> None:
    made, record = done(where)
    assert record.value("test_accuracy") > 1 / 3 + 0.2
    vocabulary = RunFolder(where.runs_dir, made.needs[0]).record()
    assert vocabulary is not None
    empty = [one.value("images_without_keypoint") for one in (record, vocabulary)]
    assert sum(empty) == 1, "the image of one colour is labelled or unlabelled"
    assert vocabulary.value("cost_parameters") == 40 * 128
    assert vocabulary.value("test_word_distance") > 0


def test_what_is_loaded_scores_files_at_their_own_size_as_the_run_did(where: Runtime) -> None:
    made, record = done(where)
    folder = RunFolder(where.runs_dir, made)
    saved = np.load(folder.predictions_file)
    root = where.data_root
    assert root is not None
    files = [root / name for name in saved["test_image"]]
    told = [prediction.ranked[0][0] for prediction in predict(folder, files)]
    expected = [record.value("classes")[k] for k in saved["test_logits"].argmax(1)]
    assert told == expected
    method = load_method(made.needs[0], RunFolder(where.runs_dir, made.needs[0]))
    vectors = unlabelled_vectors(method.latent, reopened(folder, made))
    assert vectors.shape == (record.value("images_unlabelled"), 40)


@pytest.mark.parametrize(
    "words",
    [
        "head=forest",
        "head.kernel=intersection",
        "head.kernel=chi2 encoder.levels=2 encoder.normalisation=power",
        "encoder.matcher=flann encoder.assignment=soft",
    ],
)
def test_nothing_is_described_again_for_other_heads(
    words: str, where: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(where)

    def again(*anything: Any) -> Any:
        raise AssertionError("an image was described a second time")

    monkeypatch.setattr(descriptions, "_write", again)
    monkeypatch.setattr(Vocabulary, "fit", again)
    _, record = done(where, *words.split())
    assert record.value("test_accuracy") > 1 / 3 + 0.1


@pytest.mark.parametrize("descriptor", ["dense_sift", "kaze", "orb", "fast_freak"])
def test_every_descriptor_goes_the_whole_road(descriptor: str, where: Runtime) -> None:
    made, record = done(where, f"encoder.descriptor={descriptor}", "encoder.words=20")
    folder = RunFolder(where.runs_dir, made)
    saved = torch.from_numpy(np.load(folder.predictions_file)["test_logits"])
    classifier = load_method(made, folder, record.value("classes"))
    data = reopened(folder, made)
    scores = []
    for row in data.rows["test"].tolist():
        pixels = torch.from_numpy(data.at_own_size(row, channels=1)[None])
        scores.append(classifier(pixels.permute(0, 3, 1, 2).float() / 255))
    torch.testing.assert_close(torch.cat(scores), saved, atol=1e-4, rtol=1e-4)


def test_noise_is_put_on_images_at_their_own_size(where: Runtime) -> None:
    _, record = done(where, "robustness=true", "robustness_levels=[0.5]")
    assert record.value("test_noise") == [0, 0.5]
    clean, noisy = record.value("test_accuracy_noise")
    assert noisy < clean


def test_fewer_descriptors_than_words_are_refused(where: Runtime) -> None:
    with pytest.raises(UserError, match=r"encoder.words=20000: \d+ images give \d+ descriptors"):
        done(where, "encoder.words=20000")
    with pytest.raises(UserError, match="above the number of words"):
        done(where, "pretraining.descriptors=30")


def test_all_training_images_may_give_words_where_every_label_is_used(where: Runtime) -> None:
    with pytest.raises(UserError, match="learns from unlabelled images"):
        done(where, "split=0")
    _, record = done(where, "split=0", "pretraining.images=all", "encoder.words=20")
    assert record.value("images_unlabelled") == 0
    assert record.value("test_accuracy") > 1 / 3 + 0.2


def test_words_of_bits_have_the_bits_of_most_of_their_members() -> None:
    class Bits:
        class kind:  # noqa: N801
            binary = True

        class options:  # noqa: N801
            words = 2

    class Options:
        starts, rounds = 3, 20

    random = np.random.default_rng(0)
    of_zeros = random.random((200, 256)) < 0.1
    of_ones = random.random((200, 256)) < 0.9
    values = np.packbits(np.concatenate([of_zeros, of_ones]), axis=1)
    found = centres(values, Bits, Options, 0)
    assert sorted(found.mean(axis=1)) == [0, 255]


def test_descriptors_are_drawn_from_chosen_images_alone() -> None:
    starts = np.array([0, 3, 3, 7, 9])
    values = np.arange(9, dtype=np.uint8)[:, None]
    place = np.zeros((9, 2), np.float32)
    every = Descriptions(place, values, starts)
    assert every.counts.tolist() == [3, 0, 4, 2]
    some = every.of(np.array([1, 2]))
    assert some.counts.tolist() == [0, 4]
    assert some[1].values.ravel().tolist() == [3, 4, 5, 6]
    assert len(some[0].values) == 0
    random = np.random.default_rng(0)
    assert some.drawn(100, random).ravel().tolist() == [3, 4, 5, 6]
    drawn = some.drawn(2, random).ravel().tolist()
    assert len(set(drawn)) == 2
    assert set(drawn) <= {3, 4, 5, 6}

"""Unequal classes get equal influence on request, and far images are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from composing import spec
from made_specs import TINY, fitted, job_for
from small_data import images, striped_data_for, striped_pixels

from birds.data.module import ImageData
from birds.data.split import Split, cut_of
from birds.methods.classify._balance import class_weights, oversampled
from birds.methods.nearness import distances, leave_far_out

HEADS = ("logistic", "svm", "knn", "forest", "label_spreading", "self_training")
COUNTS = (16, 4, 4)  # labels of the three classes


def uneven(run) -> ImageData:
    """Striped images of three classes; the first class has four times as many labels."""
    table = images({"train": 20, "valid": 6, "test": 6})
    rows = [np.flatnonzero((table.label == k) & (table.part == "train")) for k in range(3)]
    labelled = np.sort(np.concatenate([own[:n] for own, n in zip(rows, COUNTS, strict=True)]))
    hidden = np.sort(np.concatenate([own[n:] for own, n in zip(rows, COUNTS, strict=True)]))
    pixels = striped_pixels(table, run.image.size, run.image.channels)
    return ImageData(run, table, pixels, Split(labelled, hidden, "uneven"))


def test_weights_give_each_class_the_same_sum_and_a_mean_of_one() -> None:
    label = np.repeat([0, 1, 2], COUNTS)
    weights = class_weights(label, 4)
    sums = np.bincount(label, weights[label])
    assert sums == pytest.approx([8, 8, 8])
    assert weights[3] == 0
    rows = oversampled(label, 0)
    assert np.bincount(label[rows]).tolist() == [16, 16, 16]
    assert set(rows.tolist()) == set(range(24)), "no labelled image is lost"


@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_batches_of_balanced_sampling_have_every_class_as_often(balance: str) -> None:
    data = uneven(spec("variant=A", *TINY))
    if balance == "sampling":
        data.balance()
    shown = np.concatenate([batch["label"].numpy() for batch in data.train_dataloader()])
    expected = [8, 8, 8] if balance == "sampling" else list(COUNTS)
    passes = data.passes
    assert np.bincount(shown).tolist() == [passes * n for n in expected]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("balance", ["sampling", "weights"])
def test_every_fitted_head_gives_small_classes_more_say(
    head: str, balance: str, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], (60, 6, 6))
    centres = np.eye(3, 4) * 1.2
    features = (centres[label] + random.normal(size=(72, 4))).astype(np.float32)
    truth = np.repeat([0, 1, 2], 200)
    asked = (centres[truth] + random.normal(size=(600, 4))).astype(np.float32)
    said = {}
    for choice in ("none", balance):
        run = spec("variant=B0", f"head={head}", f"balance={choice}", *TINY)
        classifier = fitting(run, tmp_path)
        classifier._fit_head({"features": features, "label": label})
        said[choice] = classifier.scores(asked).argmax(1)
    rare = {name: float((guess != 0).mean()) for name, guess in said.items()}
    assert rare[balance] > rare["none"]


def fitting(run, tmp_path: Path):
    from birds.methods.classify._by_fitting import FittedClassifier

    return FittedClassifier(run, ("A", "B", "C"), 1)


@pytest.mark.parametrize("balance", ["sampling", "weights"])
def test_a_classifier_by_gradient_is_trained_and_measured(balance: str, tmp_path: Path) -> None:
    run = spec("variant=A", f"balance={balance}", *TINY)
    assert run.key != spec("variant=A", *TINY).key
    _, measured = fitted(job_for(run, uneven(run), tmp_path))
    recall = np.array(measured["test_recall"])
    assert measured["test_balanced_accuracy"] == pytest.approx(recall.mean())


def test_weights_change_what_is_learnt_and_sampling_what_is_shown(tmp_path: Path) -> None:
    losses = {}
    for balance in ("none", "sampling", "weights"):
        run = spec("variant=A", f"balance={balance}", *TINY)
        method, _ = fitted(job_for(run, uneven(run), tmp_path / balance))
        losses[balance] = method.head.linear.weight.detach().numpy().copy()
    assert not np.allclose(losses["none"], losses["weights"])
    assert not np.allclose(losses["none"], losses["sampling"])


def test_what_is_left_out_is_in_no_batch_and_counted(tmp_path: Path) -> None:
    run = spec("variant=FixMatch", "data.unlabelled_filter=50", *TINY)
    assert run.pool.filter == 50
    data = striped_data_for(run)
    noise = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    table = data.images
    cut = cut_of(table, split=50, seed=0)
    wide = ImageData(run, table, data.pixels, cut, 1, noise)
    before = set(wide.rows["unlabelled"].tolist())
    left_out = leave_far_out(job_for(run, wide, tmp_path), 50)["images_filtered"]
    kept = wide.rows["unlabelled"]
    assert 0 < left_out == len(before) - len(kept)
    assert set(kept.tolist()) < before
    assert wide.names(kept[:1]) == [table.ids[kept[0]]]


def test_vectors_of_another_direction_are_farther() -> None:
    random = np.random.default_rng(0)
    own = np.eye(3, 8)[np.repeat([0, 1, 2], 20)] + random.normal(0, 0.1, (60, 8))
    foreign = np.eye(8)[5] + random.normal(0, 0.1, (20, 8))
    bank, valid = own[::2].astype(np.float32), own[1::2].astype(np.float32)
    limit = np.quantile(distances(valid, bank), 0.95)
    assert (distances(foreign.astype(np.float32), bank) > limit).all()


def test_the_distance_to_itself_is_none() -> None:
    vectors = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    assert distances(vectors, vectors) == pytest.approx(np.zeros(7), abs=1e-6)

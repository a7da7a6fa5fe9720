"""Fitted heads: invalid options, scores, and the linear layers that can replace them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from birds.core.errors import UserError
from birds.core.parts import chosen_part
from birds.core.spec import Part
from birds.methods.classify.heads import create_head

RANDOM = np.random.default_rng(0)


def features(count: int, width: int = 12) -> np.ndarray:
    return RANDOM.normal(size=(count, width)).astype(np.float32) * 3 + 1


@pytest.mark.parametrize("name", ["svm", "logistic", "knn", "forest"])
def test_labels_of_one_class_are_refused(name: str) -> None:
    head = create_head(Part(name=name), 12, 2)
    with pytest.raises(UserError, match=f"head={name}: all 5 labelled images belong to one class"):
        head.fit(features(5), np.zeros(5, int), 0)


def test_more_neighbours_than_images_is_said() -> None:
    head = create_head(Part(name="knn", options={"neighbours": 9}), 12, 2)
    head.fit(features(4), np.array([0, 0, 1, 1]), 0)
    assert "head.neighbours=9: there are 4 labelled images" in head.note
    assert head.scores(features(3)).shape == (3, 2)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("absent", [0, 1])
def test_the_layer_of_a_logistic_head_gives_its_probabilities(classes: int, absent: int) -> None:
    head = create_head(Part(name="logistic"), 12, classes + absent)
    label = np.arange(40) % classes
    head.fit(features(40) + label[:, None], label, 0)
    new = features(30)
    weight, bias = head.linear()
    probability = softmax(new @ weight.T + bias, axis=1)
    assert np.abs(probability - np.exp(head.scores(new))).max() < 1e-4


def test_class_means_compare_directions_not_lengths() -> None:
    """Two classes lie in two directions; one image of the first is far out, one near the centre."""
    shown = np.array([[9, 0], [-1, 0.5], [0, 4], [0.5, -1]], np.float32)
    label = np.array([0, 1, 0, 1])
    head = create_head(Part(name="class_means"), 2, 3)
    head.fit(shown, label, 0)
    centre = shown.mean(0)
    directions = (shown - centre) / np.linalg.norm(shown - centre, axis=1, keepdims=True)
    means = np.stack([directions[label == k].sum(0) for k in (0, 1)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    new = np.array([[20, 3], [-7, 0]], np.float32)
    cosines = (new - centre) / np.linalg.norm(new - centre, axis=1, keepdims=True) @ means.T
    expected = softmax(cosines / 0.1, axis=1)
    np.testing.assert_allclose(np.exp(head.scores(new))[:, :2], expected, rtol=1e-5)
    assert (np.exp(head.scores(new))[:, 2] < 1e-6).all(), "a class without labels is never said"


def test_class_means_are_prototypes_that_nothing_refined() -> None:
    label = np.arange(20) % 4
    shown, new, others = features(20) + label[:, None], features(30), features(50)
    scores = []
    for name, extra in (("class_means", {}), ("prototypes", {"unlabelled": others})):
        options = {"rounds": 0} if name == "prototypes" else {}
        head = create_head(Part(name=name, options={"temperature": 0.1, **options}), 12, 4)
        head.fit(shown, label, 0, **extra)
        scores.append(head.scores(new))
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("name", ["logistic", "class_means", "prototypes"])
def test_the_network_of_a_fitted_head_gives_its_probabilities(name: str) -> None:
    label = np.arange(40) % 4
    head = create_head(chosen_part("head", {"name": name}), 12, 5)
    head.fit(features(40) + label[:, None], label, 0)
    new = features(30)
    with torch.no_grad():
        logits = head.network()(torch.from_numpy(new)).numpy()
    assert np.abs(softmax(logits, axis=1) - np.exp(head.scores(new))).max() < 1e-4

"""Heads that learn from unlabelled features: where classes are clouds, unlabelled images help."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from birds.core.parts import chosen_part
from birds.methods.classify.heads import create_head

CLASSES, FEATURES = 4, 20
LEARNING = ["self_training", "label_spreading", "prototypes"]


def clouds(seed: int, each: int, spread: float = 1.0) -> tuple[Any, Any]:
    """Features (N, F) of `each` images a class around four centres, and their labels (N,)."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1.0, (CLASSES, FEATURES))
    label = np.repeat(np.arange(CLASSES), each)
    noise = random.normal(0, spread, (len(label), FEATURES))
    return (centres[label] + noise).astype(np.float32), label


def accuracy(head: Any, features: Any, label: Any) -> float:
    return float((head.scores(features).argmax(1) == label).mean())


def fitted(name: str, *, unlabelled: Any = None, seed: int = 0, **options: Any) -> Any:
    head = create_head(chosen_part("head", {"name": name, **options}), FEATURES, CLASSES)
    features, label = clouds(seed, each=2, spread=0.9)
    extra = {} if unlabelled is None else {"unlabelled": unlabelled}
    head.fit(features, label, 0, **extra)
    return head


@pytest.mark.parametrize("name", LEARNING)
def test_unlabelled_images_help_where_classes_are_clouds(name: str) -> None:
    test, truth = clouds(1000, each=200, spread=0.9)
    gains = []
    for seed in range(8):
        others, _ = clouds(seed + 50, each=60, spread=0.9)
        with_others = accuracy(fitted(name, unlabelled=others, seed=seed), test, truth)
        gains.append(with_others - accuracy(fitted(name, seed=seed), test, truth))
    assert np.mean(gains) > 0.02, gains


@pytest.mark.parametrize("name", LEARNING)
def test_the_same_features_give_the_same_scores(name: str) -> None:
    others, _ = clouds(50, each=30)
    test, _ = clouds(1000, each=20)
    first, second = (fitted(name, unlabelled=others).scores(test) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (80, CLASSES)
    assert np.isfinite(first).all()


def test_balanced_self_training_takes_in_the_labelled_proportions() -> None:
    head = create_head(chosen_part("head", {"name": "self_training"}), FEATURES, CLASSES)
    scores = np.random.default_rng(0).normal(size=(400, CLASSES)).astype(np.float32)
    proportions = np.array([0.1, 0.2, 0.3, 0.4])
    taken = head._surest(scores, 0.25, proportions)
    counts = np.bincount(scores[taken].argmax(1), minlength=CLASSES)
    assert counts.tolist() == [10, 20, 30, 40]


@pytest.mark.parametrize("name", ["self_training", "label_spreading"])
def test_an_absent_class_among_the_unlabelled_is_no_error(name: str) -> None:
    others, label = clouds(50, each=30)
    head = fitted(name, unlabelled=others[label > 0])
    test, truth = clouds(1000, each=50, spread=0.5)
    assert accuracy(head, test, truth) > 0.6

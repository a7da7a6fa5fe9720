"""Heads that learn from unlabelled features: if classes are clouds, unlabelled images help."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from birds.core.parts import chosen_part
from birds.methods.classify.heads import create_head
from birds.methods.classify.heads._strength import TRIED
from birds.methods.classify.heads.self_training import estimated_proportions

CLASSES, FEATURES = 4, 20
LEARNING = ["self_training", "label_spreading", "prototypes"]


def clouds(seed: int, each: int, spread: float = 1.0) -> tuple[Any, Any]:
    """Features (N, F) around four centres, `each` images per class, and their labels (N,)."""
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
    probability = np.random.default_rng(0).dirichlet(np.ones(CLASSES), 400)
    proportions = np.array([0.1, 0.2, 0.3, 0.4])
    taken = head._surest(probability, 0.25, proportions)
    counts = np.bincount(probability[taken].argmax(1), minlength=CLASSES)
    assert counts.tolist() == [10, 20, 30, 40]


def test_predicted_balance_takes_the_same_share_of_each_guessed_class() -> None:
    asked = {"name": "self_training", "balance": "predicted", "confidence": 0.3}
    head = create_head(chosen_part("head", asked), FEATURES, CLASSES)
    probability = np.random.default_rng(0).dirichlet([3, 2, 1, 1], 400)
    guessed = np.bincount(probability.argmax(1), minlength=CLASSES)
    taken = head._surest(probability, 0.5, np.full(CLASSES, 0.25))
    counts = np.bincount(probability[taken].argmax(1), minlength=CLASSES)
    assert (abs(counts - guessed / 2) <= 0.5).all()
    assert probability[taken].max(1).min() >= 0.3


def test_proportions_are_estimated_from_probabilities() -> None:
    """The posteriors of two Gaussians with assumed proportions 0.5 and 0.5; the true ones are 0.2
    and 0.8.
    """
    random, truth = np.random.default_rng(0), np.array([0.2, 0.8])
    label = random.choice(2, 20_000, p=truth)
    x = random.normal(label * 2.0, 1.0)
    likelihood = np.exp(-0.5 * (x[:, None] - np.array([0.0, 2.0])) ** 2)
    probability = likelihood / likelihood.sum(1, keepdims=True)
    found = estimated_proportions(probability, np.array([0.5, 0.5]))
    np.testing.assert_allclose(found, truth, atol=0.01)


def test_the_guard_keeps_what_validation_images_are_classified_best_by() -> None:
    """All unlabelled images are of one class, which does harm without a guard."""
    test, truth = clouds(1000, each=200, spread=0.9)
    harmed, guarded = [], []
    for seed in range(6):
        others, label = clouds(seed + 50, each=100, spread=0.9)
        valid, valid_label = clouds(seed + 500, each=40, spread=0.9)
        alone = accuracy(fitted("self_training", seed=seed), test, truth)
        for guard, gains in (("none", harmed), ("validation", guarded)):
            head = create_head(
                chosen_part("head", {"name": "self_training", "guard": guard}), FEATURES, CLASSES
            )
            features, own = clouds(seed, each=2, spread=0.9)
            extra = {"unlabelled": others[label == 0], "valid": (valid, valid_label)}
            head.fit(features, own, 0, **extra)
            gains.append(accuracy(head, test, truth) - alone)
    assert np.mean(harmed) < -0.02, harmed
    assert np.mean(guarded) > -0.01, guarded


@pytest.mark.parametrize("name", ["logistic", "svm", "self_training"])
def test_cross_validation_chooses_how_strong_a_penalty_is(name: str) -> None:
    """With half of the labels random the best penalty is strong; with right labels it is weaker."""
    strengths = []
    for share in (0.0, 0.5):
        random = np.random.default_rng(0)
        features, label = clouds(0, each=20, spread=1.5)
        flipped = random.random(len(label)) < share
        label = np.where(flipped, random.integers(0, CLASSES, len(label)), label)
        head = create_head(chosen_part("head", {"name": name, "C": "auto"}), FEATURES, CLASSES)
        head.fit(features, label, 0)
        strengths.append(head.strength)
    assert set(strengths) <= set(TRIED)
    assert strengths[1] < 1.0
    if name != "svm":  # it is scored by accuracy, which often ties with few images
        assert strengths[1] <= strengths[0]


def test_a_class_with_one_image_leaves_nothing_to_cross_validate() -> None:
    head = create_head(chosen_part("head", {"name": "logistic", "C": "auto"}), FEATURES, CLASSES)
    features, label = clouds(0, each=1)
    head.fit(features, label, 0)
    assert head.strength == 1.0


@pytest.mark.parametrize("name", ["self_training", "label_spreading"])
def test_an_absent_class_among_the_unlabelled_is_no_error(name: str) -> None:
    others, label = clouds(50, each=30)
    head = fitted(name, unlabelled=others[label > 0])
    test, truth = clouds(1000, each=50, spread=0.5)
    assert accuracy(head, test, truth) > 0.6

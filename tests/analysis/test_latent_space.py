"""Clusters and their measures on arrangements with a known answer."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from analysis.latent_space import (
    agreement,
    explored,
    matched,
    nearest_first,
    refuse_too_few,
    tsne,
)
from birds.core.spec import UserError

CLASSES = 4


def far_apart(each: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Species as tight clouds, far from each other; images are in random order."""
    random = np.random.default_rng(0)
    label = random.permutation(np.repeat(np.arange(CLASSES), each))
    vectors = 10 * np.eye(CLASSES, 6)[label] + random.normal(0, 0.1, (len(label), 6))
    return vectors.astype(np.float32), label


def clusters(vectors: np.ndarray) -> np.ndarray:
    """As many k-means clusters as there are classes."""
    return KMeans(CLASSES, n_init=10, random_state=0).fit_predict(vectors)


def test_classes_that_lie_apart_are_found_and_named() -> None:
    vectors, label = far_apart()
    space = explored(vectors, label, clusters(vectors), CLASSES, perplexity=10, seed=0)
    assert (space.cluster == label).all()
    assert [space.metrics[name] for name in ("accuracy", "nmi", "ari")] == pytest.approx([1, 1, 1])
    assert space.metrics["silhouette"] == space.metrics["silhouette_classes"] > 0.9
    assert space.metrics["accuracy_by_chance"] < 0.5
    middle = np.stack([space.tsne[label == k].mean(0) for k in range(CLASSES)])
    nearest = np.linalg.norm(space.tsne[:, None] - middle, axis=2).argmin(1)
    assert (nearest == label).all(), "t-SNE mixes what lies apart"


def test_vectors_that_know_nothing_do_as_well_as_chance() -> None:
    vectors = np.random.default_rng(1).normal(size=(400, 6)).astype(np.float32)
    label = np.arange(400) % CLASSES
    cluster = matched(label, clusters(vectors), CLASSES)
    found = agreement(vectors, label, cluster, CLASSES, 0)
    assert found["accuracy"] == pytest.approx(found["accuracy_by_chance"], abs=0.06)
    assert abs(found["ari"]) < 0.02
    assert found["nmi"] < 0.05
    assert abs(found["silhouette_classes"]) < 0.05


def test_matching_takes_the_best_pairs_together_and_asks_the_labelled_alone() -> None:
    """Cluster 0 alone would also be matched to class 0, but 0 -> 1 and 1 -> 0 together agree on
    more images.
    """
    label = np.repeat([0, 1, 0], [4, 3, 9])
    cluster = np.repeat([0, 0, 1], [4, 3, 9])
    assert matched(label, cluster, 2).tolist() == [1] * 7 + [0] * 9
    unknown = np.where(np.arange(16) < 7, label, -1)
    assert matched(unknown, cluster, 2).tolist() == [0] * 7 + [1] * 9


def test_the_same_seed_draws_the_same_picture() -> None:
    vectors, _ = far_apart()
    assert np.array_equal(tsne(vectors, 10, 3), tsne(vectors, 10, 3))
    assert not np.array_equal(tsne(vectors, 10, 3), tsne(vectors + 1e-3 * vectors**2, 10, 3))


def test_a_cluster_is_shown_from_its_mean_outwards() -> None:
    vectors, label = far_apart()
    space = explored(vectors, label, clusters(vectors), CLASSES, perplexity=10, seed=0)
    shown = nearest_first(space, 2)
    assert set(shown) == set(np.flatnonzero(label == 2))
    distance = np.linalg.norm(vectors[shown] - vectors[label == 2].mean(0), axis=1)
    assert (np.diff(distance) >= 0).all()


@pytest.mark.parametrize(
    ("images", "perplexity", "cure"),
    [
        (20, 5, "larger split"),
        (60, 20, "choose 2 to 19"),
        (60, 0, "choose 2 to 19"),
        (60, float("nan"), "2 to 19"),
    ],
)
def test_too_few_images_are_refused_with_the_cure(
    images: int, perplexity: float, cure: str
) -> None:
    with pytest.raises(UserError, match=cure):
        refuse_too_few(images, 20, perplexity)
    refuse_too_few(61, 20, 20)

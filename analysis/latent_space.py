"""Latent vectors as arrays: clusters, the classes matched to them, measures of agreement, and a
picture in two dimensions.

These are pure functions of arrays, with all randomness from a seed. True classes are only used to
measure; nothing here learns from them. Letters: N images, D values of a latent vector, S classes
and as many clusters.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from analysis.markdown import markdown
from birds.core.randomness import stream, stream_seed
from birds.core.spec import UserError

COMPONENTS = 50  # principal components of the vectors for t-SNE
SHUFFLES = 20  # how often labels are shuffled to estimate accuracy by chance
HEAD = [
    "run",
    "encoder",
    "images",
    "accuracy %",
    "by chance %",
    "NMI",
    "ARI",
    "silhouette",
    "silhouette of classes",
]
MEANING = (
    "mean over positions of the deepest features; of a variational pretraining, "
    "of the latent's mean"
)
NOTE = (
    f"Latent vectors of the unlabelled training images of the run's cut ({MEANING}), clustered by "
    "k-means into as many\nclusters as there are classes. Accuracy: clusters matched one to one to "
    "classes so that most images agree; by chance:\nthe same after shuffling classes. True classes "
    "measure here and teach nothing."
)

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Space:
    """The latent vectors (N, D) of images, with their true classes, clusters and t-SNE positions.

    label and cluster are (N,), tsne is (N, 2). A cluster has the number of the class that it is
    matched to.
    """

    vectors: Vectors
    label: Labels
    cluster: Labels
    tsne: Vectors
    metrics: dict[str, float]


def explored(
    vectors: Vectors, label: Labels, cluster: Labels, classes: int, *, perplexity: float, seed: int
) -> Space:
    """The whole space, from vectors, their true classes and their clusters in any order.

    Raises UserError when there are fewer images than clusters, or too few for the perplexity.
    """
    refuse_too_few(len(vectors), classes, perplexity)
    cluster = matched(label, cluster, classes)
    metrics = agreement(vectors, label, cluster, classes, seed)
    return Space(vectors, label, cluster, tsne(vectors, perplexity, seed), metrics)


def refuse_too_few(images: int, clusters: int, perplexity: float) -> None:
    """Raise UserError when there are too few images for k-means or for t-SNE's perplexity."""
    if images <= clusters:
        raise UserError(
            f"{images} unlabelled images cannot form {clusters} clusters, one for each class; "
            "choose a run with a larger split or fewer classes"
        )
    most = (images - 1) // 3
    if not 2 <= perplexity <= most:
        raise UserError(
            f"--perplexity {perplexity:g} does not suit {images} images; choose 2 to {most}"
        )


def matched(label: Labels, cluster: Labels, classes: int) -> Labels:
    """The clusters, each renumbered as the class that it is matched to.

    The matching has the largest number of images that agree (Kuhn 1955, 'Hungarian'). Images with
    the label -1 are ignored.
    """
    from scipy.optimize import linear_sum_assignment

    known = label >= 0
    together = np.zeros((classes, classes), np.int64)
    np.add.at(together, (cluster[known], label[known]), 1)
    number: Labels = linear_sum_assignment(together, maximize=True)[1]
    return number[cluster]


def agreement(
    vectors: Vectors, label: Labels, cluster: Labels, classes: int, seed: int
) -> dict[str, float]:
    """How well clusters agree with classes.

    accuracy: the share of images in the cluster matched to their class. accuracy_by_chance: the
    same after shuffling the labels. nmi, ari: normalised mutual information and adjusted Rand
    index. silhouette, silhouette_classes (-1 to 1): how well vectors are separated by cluster, and
    by true class.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    random = stream(seed, "shuffled")
    shuffled = [random.permutation(label) for _ in range(SHUFFLES)]
    return {
        "accuracy": float((cluster == label).mean()),
        "accuracy_by_chance": float(
            np.mean([(matched(other, cluster, classes) == other) for other in shuffled])
        ),
        "nmi": float(normalized_mutual_info_score(label, cluster)),
        "ari": float(adjusted_rand_score(label, cluster)),
        "silhouette": silhouette(vectors, cluster),
        "silhouette_classes": silhouette(vectors, label),
    }


def silhouette(vectors: Vectors, group: Labels) -> float:
    """How well groups of vectors are separated, -1 to 1.

    NaN if all are in one group or each is its own group.
    """
    from sklearn.metrics import silhouette_score

    groups = len(np.unique(group))
    return float(silhouette_score(vectors, group)) if 1 < groups < len(group) else float("nan")


def tsne(vectors: Vectors, perplexity: float, seed: int) -> Vectors:
    """Positions (N, 2) by t-SNE (van der Maaten and Hinton 2008) of the first 50 principal
    components.

    openTSNE runs on one thread and starts from the first two components, so the same seed gives the
    same picture.
    """
    from openTSNE import TSNE
    from sklearn.decomposition import PCA

    components = min(COMPONENTS, *vectors.shape)
    reduced = PCA(components, random_state=0).fit_transform(vectors)
    drawn = TSNE(
        perplexity=perplexity, n_jobs=1, random_state=stream_seed(seed, "t-sne") % 2**32
    ).fit(reduced)
    return np.asarray(drawn, np.float32)


def nearest_first(space: Space, cluster: int) -> Labels:
    """The positions of a cluster's images in the space, nearest to the cluster's mean first."""
    own = np.flatnonzero(space.cluster == cluster)
    distance = np.linalg.norm(space.vectors[own] - space.vectors[own].mean(0), axis=1)
    return own[np.argsort(distance, kind="stable")]


def as_markdown(rows: Iterable[tuple[str, str, Space]]) -> str:
    """The spaces as a Markdown table with run, encoder and measures, and a note on these."""
    shown = [
        [run, encoder, str(len(space.label)), *_numbers(space.metrics)]
        for run, encoder, space in rows
    ]
    return f"{markdown(HEAD, shown)}\n\n{NOTE}"


def _numbers(metrics: dict[str, float]) -> list[str]:
    shares = [f"{100 * metrics[name]:.1f}" for name in ("accuracy", "accuracy_by_chance")]
    return shares + [
        f"{metrics[name]:.3f}" for name in ("nmi", "ari", "silhouette", "silhouette_classes")
    ]

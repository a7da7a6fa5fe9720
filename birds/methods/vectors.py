"""Latent vectors of unlabelled images, and their clusters."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birds.core.randomness import stream_seed
from birds.data.augmentation import to_float
from birds.data.module import EVALUATION_BATCH, ImageData


@torch.no_grad()
def unlabelled_vectors(encode: Callable[[Tensor], Tensor], data: ImageData) -> NDArray[np.float32]:
    """The latent vectors (N, D) of unlabelled images, unchanged, in the order of `data`'s rows."""
    rows = data.rows["unlabelled"]
    vectors = []
    for chunk in np.array_split(rows, -(-len(rows) // EVALUATION_BATCH)):
        pixels = torch.from_numpy(data.decoded(chunk)).permute(0, 3, 1, 2)
        vectors.append(encode(to_float(pixels)))
    found: NDArray[np.float32] = torch.cat(vectors).float().numpy()
    return found


def kmeans_clusters(vectors: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.int64]:
    """The cluster of each vector by k-means, the best of ten starts; no more than there are
    vectors.
    """
    from sklearn.cluster import KMeans

    state = stream_seed(seed, "k-means") % 2**32
    kmeans = KMeans(min(clusters, len(vectors)), n_init=10, random_state=state)
    found: NDArray[np.int64] = kmeans.fit_predict(vectors)
    return found.astype(np.int64)

"""Latent vectors of unlabelled images, and their clusters."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birds.core.randomness import stream_seed
from birds.data.augmentation import to_float
from birds.data.module import EVALUATION_BATCH, ImageData
from birds.encoders import reads_own_size


@torch.no_grad()
def unlabelled_vectors(encode: Callable[[Tensor], Tensor], data: ImageData) -> NDArray[np.float32]:
    """The latent vectors (N, D) of the unlabelled images, not augmented, in the order of `data`'s
    rows.

    If the run's encoder reads images at their own size, it gets each image alone and in grey.
    """
    rows = data.rows["unlabelled"]
    vectors = []
    if reads_own_size(data.spec):
        for row in rows.tolist():
            pixels = torch.from_numpy(data.at_own_size(row, channels=1)[None])
            vectors.append(encode(to_float(pixels.permute(0, 3, 1, 2))))
    else:
        for chunk in np.array_split(rows, -(-len(rows) // EVALUATION_BATCH)):
            pixels = torch.from_numpy(data.decoded(chunk)).permute(0, 3, 1, 2)
            vectors.append(encode(to_float(pixels)))
    found: NDArray[np.float32] = torch.cat(vectors).float().numpy()
    return found


def kmeans_clusters(vectors: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.int64]:
    """The cluster (N,) of each vector by k-means, the best of ten starts.

    There are at most as many clusters as vectors.
    """
    from sklearn.cluster import KMeans

    state = stream_seed(seed, "k-means") % 2**32
    kmeans = KMeans(min(clusters, len(vectors)), n_init=10, random_state=state)
    found: NDArray[np.int64] = kmeans.fit_predict(vectors)
    return found.astype(np.int64)

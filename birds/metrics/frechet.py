"""The Fréchet distance between two sets of images, in the feature space of a network."""

import numpy as np
from numpy.typing import NDArray


def frechet_distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The squared Fréchet distance between normal distributions fitted to two sets of features.

    The distributions have the features' means and covariances; the distance is 0 if these are equal
    (Dowson and Landau 1982, 10.1016/0047-259X(82)90077-X). Features are (N, F) and (M, F). Heusel
    et al. (2017, arXiv:1706.08500) use it to evaluate generated images. It gets smaller as the sets
    grow, so compare only distances between equally large sets. Raises ValueError for a set of fewer
    than two.
    """
    if min(len(one), len(other)) < 2:
        raise ValueError("a covariance needs two images or more")
    first, second = one.astype(np.float64), other.astype(np.float64)
    gap = np.square(first.mean(0) - second.mean(0)).sum()
    of_first = np.atleast_2d(np.cov(first, rowvar=False))
    of_second = np.atleast_2d(np.cov(second, rowvar=False))
    root = _square_root(of_first)
    product = root @ of_second @ root
    shared = np.sqrt(np.linalg.eigvalsh(product).clip(min=0)).sum()
    return max(0.0, float(gap + np.trace(of_first) + np.trace(of_second) - 2 * shared))


def _square_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    root: NDArray[np.float64] = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root

"""Balances classes of different sizes.

`sampling` shows the images of every class equally often (He and Garcia 2009,
10.1109/TKDE.2008.239); `weights` divides the weight of an image by the number of labels of its
class. Some heads cannot use weights in their fit. Their scores, which are logarithms of
probabilities, are corrected by the classes' shares instead (Saerens et al. 2002,
10.1162/089976602753284446).
"""

import numpy as np
from numpy.typing import NDArray

from birds.core.randomness import stream


def class_weights(label: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """The weight (S,) of an image of each class, from the labels (N,) of the labelled images.

    The weights of all labelled images have the mean 1, and those of each class have the same sum. A
    class without images has weight 0.
    """
    count = np.bincount(label, minlength=classes)
    there = np.maximum((count > 0).sum(), 1)
    weights: NDArray[np.float64] = np.where(
        count > 0, len(label) / (there * np.maximum(count, 1)), 0
    )
    return weights


def oversampled(label: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Positions in `label` (N,) with as many images of every class as the largest class has.

    Every image is in it; images of smaller classes are repeated, in a seeded order.
    """
    count = np.bincount(label)
    most = int(count.max())
    chosen = []
    for k in np.flatnonzero(count):
        own = np.flatnonzero(label == k)
        order = stream(seed, "balance", int(k)).permutation(len(own))
        chosen.append(own[np.resize(order, most)])
    return np.sort(np.concatenate(chosen))

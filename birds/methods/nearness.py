"""Leaves out unlabelled images that are far from every labelled image.

A camera trap also photographs foxes and leaves. Features come from the frozen encoder before
training, minus the mean of the labelled images. The distance of an image is one minus its largest
cosine with a labelled image (nearest neighbours as in Sun et al. 2022, arXiv:2204.06507). The limit
comes from the validation images, whose classes are known: `data.unlabelled_filter=95` keeps the
images within the distance that 95 % of the validation images have. A good filter needs good
features, that is, an encoder with pretrained weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from birds.encoders import seeded_encoder
from birds.methods import Job
from birds.methods.features import features_of

LEAST = 1e-12


def leave_far_out(job: Job, share: int) -> dict[str, Any]:
    """Remove far unlabelled images from a job's data; returns columns of the record.

    Far means farther than `share` per cent of the validation images. Without validation images
    nothing is removed.
    """
    encoder = seeded_encoder(job.spec).requires_grad_(False).eval()
    shown, valid, other = (
        features_of(encoder, job, part) for part in ("labelled", "valid", "unlabelled")
    )
    if not len(valid) or not len(other):
        return {"images_filtered": 0}
    far = float(np.quantile(distances(valid, shown), share / 100, method="higher"))
    kept = distances(other, shown) <= far
    if not kept.any():
        kept[:] = True  # rather keep all images than none
    job.data.keep_unlabelled(kept)
    left_out = int((~kept).sum())
    job.say(
        f"{left_out} of {len(kept)} unlabelled images are farther from the labelled ones than "
        f"{share} % of the validation images: left out"
    )
    return {"images_filtered": left_out}


def distances(features: NDArray[np.float32], bank: NDArray[np.float32]) -> NDArray[np.float64]:
    """One minus the largest cosine of each vector (N, F) with one of `bank` (M, F), 0 to 2."""
    centre = bank.mean(0)
    likeness = _directions(features, centre) @ _directions(bank, centre).T
    found: NDArray[np.float64] = 1 - likeness.max(1)
    return found


def _directions(features: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = (features - centre).astype(np.float64)
    length = np.linalg.norm(shifted, axis=1, keepdims=True)
    directions: NDArray[np.float64] = shifted / np.maximum(length, LEAST)
    return directions

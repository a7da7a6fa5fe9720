"""Which training photos count as labelled: stratified per species, nested over ratios, seeded.

Each species' training photos get one seeded order; the labelled ones are its beginning. So the
labelled 10 % of a 90/10 cut lie inside the labelled 30 % of the 70/30 cut of the same seed. The
order depends on the seed, the species' name and the photos themselves, not on other species.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from birds.core.randomness import stream
from birds.core.spec import UserError


@dataclasses.dataclass(frozen=True)
class Split:
    """Row numbers of the labelled and the unlabelled training photos, ascending, and a digest of
    the cut.
    """

    labelled: NDArray[np.int64]
    unlabelled: NDArray[np.int64]
    digest: str


def labelled_count(photos: int, split: int) -> int:
    """How many of `photos` are labelled when `split` per cent are not: rounded half up."""
    return (photos * (100 - split) + 50) // 100


def draw_split(
    rows: NDArray[np.int64],
    label: NDArray[np.int64],
    *,
    split: int,
    seed: int,
    species: Sequence[str],
) -> Split:
    """Cut training photos into labelled and unlabelled.

    Args:
        rows: row numbers of the training photos, ascending, of any length N.
        label: the species of each of those rows, (N,), indices into `species`.
        split: per cent of each species' photos treated as unlabelled, 1 to 99.
        seed: the seed of the cut.
        species: the species' names.

    Raises UserError when a species would have no labelled or no unlabelled photo.
    """
    labelled, unlabelled = [], []
    for k, name in enumerate(species):
        own = rows[label == k]
        count = labelled_count(len(own), split)
        if not 0 < count < len(own):
            empty = "labelled" if count == 0 else "unlabelled"
            raise UserError(
                f"split={split} leaves {name} with no {empty} photo out of its {len(own)}; "
                f"choose a {'smaller' if count == 0 else 'larger'} split or species with more photos"
            )
        order = stream(seed, f"split/{name}").permutation(len(own))
        labelled.append(own[order[:count]])
        unlabelled.append(own[order[count:]])
    cut = np.sort(np.concatenate(labelled)), np.sort(np.concatenate(unlabelled))
    digest = hashlib.sha256(
        cut[0].astype("<i8").tobytes() + b"/" + cut[1].astype("<i8").tobytes()
    ).hexdigest()[:12]
    return Split(*cut, digest)

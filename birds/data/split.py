"""Splits training images into labelled and unlabelled ones: per class, nested, and seeded.

The training images of a class get one random order, and the first ones are labelled. So the
labelled 10 % of a 90/10 split are among the labelled 30 % of the 70/30 split of the same seed, and
likewise for N labels per class. The order depends on the seed, the class's name and its images, not
on other classes.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.core.randomness import stream
from birds.data.images import Images
from birds.data.notes import printable


@dataclasses.dataclass(frozen=True)
class Split:
    """Row numbers of the labelled and the unlabelled training images, ascending, and a digest."""

    labelled: NDArray[np.int64]
    unlabelled: NDArray[np.int64]
    digest: str


def cut_of(images: Images, *, split: int, labels_per_class: int | None = None, seed: int) -> Split:
    """The split of a data set.

    Images without a label in the source are always unlabelled and do not count for `split`.

    Args:
        images: the data set.
        split: percentage of each class's training images treated as unlabelled, 0 to 99; 0 uses
            every label.
        labels_per_class: the number of labelled images per class, instead of `split`.
        seed: the seed of the split.

    Raises UserError if a class has too few images.
    """
    rows = images.labelled_rows()
    return draw_split(
        rows,
        images.label[rows],
        split=split,
        labels_per_class=labels_per_class,
        seed=seed,
        classes=images.classes,
        beside=images.unlabelled_rows(),
    )


def labelled_count(images: int, split: int) -> int:
    """The number of labelled images when `split` per cent are not labelled, rounded half up."""
    return (images * (100 - split) + 50) // 100


def draw_split(
    rows: NDArray[np.int64],
    label: NDArray[np.int64],
    *,
    split: int,
    seed: int,
    classes: Sequence[str],
    labels_per_class: int | None = None,
    beside: NDArray[np.int64] | None = None,
) -> Split:
    """Split training images into labelled and unlabelled ones.

    Args:
        rows: row numbers of the training images with a label, ascending, (N,).
        label: the class of each of those rows, (N,), indices into `classes`.
        split, seed, labels_per_class: see `cut_of`.
        classes: the names of the classes.
        beside: row numbers of images without a label, if any.

    Raises UserError if a class has too few images.
    """
    labelled: list[NDArray[np.int64]] = []
    unlabelled = [np.zeros(0, np.int64) if beside is None else beside]
    for k, name in enumerate(classes):
        own = rows[label == k]
        if labels_per_class is None:
            count = _count_by_share(name, len(own), split)
        else:
            count = _count_by_number(name, len(own), labels_per_class)
        order = stream(seed, f"split/{name}").permutation(len(own))
        labelled.append(own[order[:count]])
        unlabelled.append(own[order[count:]])
    shown = np.sort(np.concatenate(labelled))
    hidden = np.sort(np.concatenate(unlabelled))
    both = shown.astype("<i8").tobytes() + b"/" + hidden.astype("<i8").tobytes()
    return Split(shown, hidden, hashlib.sha256(both).hexdigest()[:12])


def _count_by_share(name: str, images: int, split: int) -> int:
    """The number of labelled images of a class when `split` per cent are not labelled."""
    if not 0 <= split <= 99:
        raise UserError(f"split={split}: choose 0 (every label is used) to 99")
    count = labelled_count(images, split)
    if split == 0 and images:
        return images
    if not 0 < count < images:
        empty = "labelled" if count == 0 else "unlabelled"
        raise UserError(
            f"split={split} leaves {printable(name)} with no {empty} image out of its {images}; "
            f"choose a {'smaller' if count == 0 else 'larger'} split or classes with more images"
        )
    return count


def _count_by_number(name: str, images: int, labels: int) -> int:
    """The number of labelled images of a class for `labels` per class."""
    if labels < 1:
        raise UserError(f"data.labels_per_class={labels}: choose 1 or more")
    if labels > images:
        raise UserError(
            f"data.labels_per_class={labels}: {printable(name)} has {images} training images; "
            f"choose {images} or fewer, or classes with more images"
        )
    return labels

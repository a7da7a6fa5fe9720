"""Folds of a cross-validation: classes in equal shares, each group of images in one fold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.core.randomness import stream
from birds.data.notes import printable

FOLDS = 5


def group_numbers(groups: Sequence[str | None]) -> NDArray[np.int64]:
    """A number (N,) for each image: equal within a group, unique for an image without one."""
    numbers: dict[Any, int] = {}
    keys = [group if group else (position,) for position, group in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def refuse_small(
    classes: Sequence[str], label: NDArray[np.int64], group: NDArray[np.int64]
) -> None:
    """Raise UserError if a class has too few images or groups to hold some out."""
    if len(classes) < 2:
        raise UserError("images of one class alone can be read; two classes are needed")
    for number, name in enumerate(classes):
        images, apart = int((label == number).sum()), _groups_of(number, label, group)
        if images < 2:
            raise UserError(
                f"{printable(name)} has one image; cross-validation needs two of each class: "
                "add some, or leave the class out"
            )
        if apart < 2:
            raise UserError(
                f"the {images} images of {printable(name)} are all of one group, and a group is "
                "never torn apart; add images of another group, or leave the class out"
            )


def folds(label: NDArray[np.int64], group: NDArray[np.int64], seed: int) -> list[tuple[Any, Any]]:
    """Training and held-out positions: five folds, or as many as the smallest class has groups."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    apart = [_groups_of(number, label, group) for number in np.unique(label)]
    count = min(FOLDS, *apart)
    state = int(stream(seed, "folds").integers(2**32))
    if len(np.unique(group)) == len(label):
        return list(StratifiedKFold(count, shuffle=True, random_state=state).split(label, label))
    by_group = StratifiedGroupKFold(count, shuffle=True, random_state=state)
    return list(by_group.split(label, label, group))


def _groups_of(number: int, label: NDArray[np.int64], group: NDArray[np.int64]) -> int:
    return len(np.unique(group[label == number]))

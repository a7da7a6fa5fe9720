"""The images of a data set after selection: rows, labels and parts."""

import dataclasses
import hashlib
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from birds.data.notes import Notes
from birds.data.sources import Source

UNLABELLED = -1


@dataclasses.dataclass(frozen=True)
class Images:
    """N images in an order that does not depend on their parts.

    `label[i]` is the index of image i's class in `classes`, or -1 for an image without a label.
    `part[i]` is train, valid or test. `content[i]` is the hash of its content. `notes` lists what
    the reader left out, merged, renamed or scaled. `classes_found` counts the classes before
    selection.
    """

    source: Source
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    label: NDArray[np.int64]
    part: NDArray[np.str_]
    content: tuple[str, ...]
    notes: Notes
    classes_found: int = 0

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits: a hash of classes, parts and contents in order.

        Equal digests mean equal rows, and so equal splits.
        """
        names = (*self.classes, "")  # -1, the last one, means no class
        rows = zip(self.label.tolist(), self.part.tolist(), self.content, strict=True)
        lines = [f"{names[k]}\t{part}\t{content}" for k, part, content in rows]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]

    def rows(self, part: str) -> NDArray[np.int64]:
        """The row numbers of one part, ascending; images without a label belong to train."""
        return np.flatnonzero(self.part == part)

    def labelled_rows(self) -> NDArray[np.int64]:
        """The row numbers of the training images that have a label in the source, ascending."""
        return np.flatnonzero((self.part == "train") & (self.label != UNLABELLED))

    def unlabelled_rows(self) -> NDArray[np.int64]:
        """The row numbers of the images without a label in the source, ascending."""
        return np.flatnonzero(self.label == UNLABELLED)

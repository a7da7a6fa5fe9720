"""Sources: which images there are, with a label or none, in a part or none, and how one is decoded.

Each source is a module here with one public class named after it, and nobody else opens a file of
images.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from birds.data.contents import Contents
from birds.data.decode import Look
from birds.data.notes import Notes


class Item(NamedTuple):
    """One image: its name in the source, its class (None: no label), its part and its group.

    The name is the path under the root, or one such as `train/000123` where images are no files.
    The part is train, valid or test, or None where the source has no parts. Images of one group (a
    nest, a camera, a burst) never stand on both sides of a cut; None is a group of its own.
    """

    id: str
    label: str | None
    part: str | None
    group: str | None = None


class Scan(NamedTuple):
    """Every image of a source, and notes of what it left out, joined or renamed."""

    items: list[Item]
    notes: Notes


class Source(Protocol):
    """What every source has. It may be pickled, and it decodes without having scanned.

    `decode_many(ids, look) -> uint8 (N, h, w, c) or None` may stand beside `decode` where many
    images at once are faster; None says that they are not.
    """

    @property
    def place(self) -> str:
        """Where the images lie, for messages."""
        ...

    def prepare(self) -> None:
        """Make the images if they have to be made; most sources have nothing to do."""
        ...

    def scan(self) -> Scan:
        """Every image, in an order that is always the same. Raises UserError with the cure."""
        ...

    def contents(self, ids: Sequence[str], cache_dir: Path | None) -> dict[str, Contents]:
        """Hash and readability of each image, remembered in `cache_dir` if there is one."""
        ...

    def decode(self, id: str, look: Look) -> NDArray[np.uint8]:
        """One image as uint8 (h, w, c). Raises Unreadable."""
        ...

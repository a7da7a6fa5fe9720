"""Sources: they list images, with labels and parts if known, and decode them.

Each source is a module here with one public class of the same name. No other code opens image
files.
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

    The name is the path under the root, or a name such as `train/000123` if images are not files.
    The part is train, valid or test, or None if the source has no parts. Images of one group (a
    nest, a camera, a burst) are never in two parts; None means that the image has no group.
    """

    id: str
    label: str | None
    part: str | None
    group: str | None = None


class Scan(NamedTuple):
    """Every image of a source, and notes on what it left out, merged or renamed."""

    items: list[Item]
    notes: Notes


class Source(Protocol):
    """The interface of every source. It can be pickled, and it can decode without a scan.

    A source may also have `decode_many(ids, look) -> uint8 (N, h, w, c) or None`, if decoding many
    images at once is faster; None means that it is not.
    """

    @property
    def place(self) -> str:
        """The place of the images, for messages."""
        ...

    def prepare(self) -> None:
        """Create the images if necessary; most sources do nothing."""
        ...

    def scan(self) -> Scan:
        """Every image, always in the same order. Raises UserError with the cure."""
        ...

    def contents(self, ids: Sequence[str], cache_dir: Path | None) -> dict[str, Contents]:
        """Hash and readability of each image, remembered in `cache_dir` if it is given."""
        ...

    def decode(self, id: str, look: Look) -> NDArray[np.uint8]:
        """One image as uint8 (h, w, c). Raises Unreadable."""
        ...

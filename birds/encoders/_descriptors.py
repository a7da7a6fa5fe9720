"""Local descriptors of grey images by OpenCV: their places and values.

SIFT (Lowe 2004, 10.1023/B:VISI.0000029664.99615.94), the same on a regular grid (Lazebnik et al.
2006, 10.1109/CVPR.2006.68), KAZE (Alcantarilla et al. 2012, 10.1007/978-3-642-33783-3_16), ORB
(Rublee et al. 2011, 10.1109/ICCV.2011.6126544), and FREAK (Alahi et al. 2012,
10.1109/CVPR.2012.6247715) at FAST corners (Rosten and Drummond 2006, 10.1007/11744023_34).

OpenCV's own threads are off for two reasons. This project's threads already describe several images
at once. And its processes are forked, after which OpenCV's threads would not work.
"""

import contextlib
import importlib
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.core.home import install
from birds.encoders._own_size import Description

SMALLEST = 8  # pixels: in images with a shorter side nothing is detected
SIFT_WIDTH = 6.0  # a SIFT descriptor covers 4 cells of 1.5 keypoint sizes each
GRID_BLUR = 0.8  # standard deviation in pixels: cells of a dense grid are 4 pixels wide


class Kind(NamedTuple):
    """The properties of a descriptor.

    length: how many numbers it has. binary: whether these are bits, packed in bytes. signed:
    whether they may be negative. norm: the usual Euclidean length, 0 for bits. stored: the type in
    files.
    """

    length: int
    binary: bool
    signed: bool
    norm: float
    stored: Any


KINDS = {
    "sift": Kind(128, False, False, 512.0, np.uint8),  # OpenCV rounds them to whole numbers
    "dense_sift": Kind(128, False, False, 512.0, np.uint8),
    "kaze": Kind(64, False, True, 1.0, np.float32),
    "orb": Kind(32, True, False, 0.0, np.uint8),
    "fast_freak": Kind(64, True, False, 0.0, np.uint8),
}
_own = threading.local()  # one set of detectors per thread; they must not be shared


@lru_cache(maxsize=1)
def opencv() -> Any:
    """OpenCV with one thread. Raises UserError when it, or its extra modules, are missing.

    The plain wheel of OpenCV has no FREAK and, from version 5 on, no KAZE.
    """
    cv2: Any = None
    with contextlib.suppress(ImportError):
        cv2 = importlib.import_module("cv2")
    if not hasattr(cv2, "xfeatures2d"):
        raise UserError(
            f"encoder=words needs the package opencv-contrib-python-headless: {install('words')}"
        )
    cv2.setNumThreads(1)
    return cv2


def describe(image: UInt8[np.ndarray, "h w"], options: Any) -> Description:
    """The descriptors of a grey image; at most `options.keypoints`, except on a grid.

    If nothing is detected, there are no descriptors. `options` are those of `encoder=words`.
    """
    image = _at_most(image, options.long_side)
    kind = KINDS[options.descriptor]
    points, values = _found(image, options)
    if values is None or not len(values):
        return Description(np.zeros((0, 2), np.float32), np.zeros((0, kind.length), kind.stored))
    place = np.array([point.pt for point in points], np.float32)
    sides = np.array([image.shape[1], image.shape[0]], np.float32)
    whole = np.isfinite(values).all(axis=1) if kind.stored is np.float32 else slice(None)
    return Description((place / sides)[whole], values[whole].astype(kind.stored))


def _at_most(image: NDArray[np.uint8], long_side: int | None) -> NDArray[np.uint8]:
    """The image, made smaller if its long side has more than `long_side` pixels."""
    height, width = image.shape
    if long_side is None or max(height, width) <= long_side:
        return image
    share = long_side / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    cv2 = opencv()
    smaller: NDArray[np.uint8] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return smaller


def _found(image: NDArray[np.uint8], options: Any) -> tuple[Sequence[Any], Any]:
    """OpenCV's keypoints and their descriptors, which may be None."""
    if options.descriptor == "dense_sift":
        points = grid(image.shape[1], image.shape[0], options.patch, options.step)
        found: tuple[Sequence[Any], Any] = _tools("dense_sift", 0)[1].compute(image, points)
        return found
    if min(image.shape) < SMALLEST:
        return [], None
    detector, extractor = _tools(options.descriptor, options.keypoints)
    points = strongest(detector.detect(image, None), options.keypoints)
    if not points:
        return [], None
    described: tuple[Sequence[Any], Any] = extractor.compute(image, points)
    return described


def strongest(points: Sequence[Any], most: int) -> list[Any]:
    """The `most` keypoints with the highest response; all for 0."""
    if not most or len(points) <= most:
        return list(points)
    response = np.array([point.response for point in points])
    order = np.argsort(-response, kind="stable")[:most]
    return [points[k] for k in order]


def grid(width: int, height: int, patch: int, step: int) -> list[Any]:
    """Upright keypoints, `step` pixels apart, whose patches of `patch` pixels a side fit in the
    image.

    An image that is smaller than a patch gets one keypoint, in its middle.
    """
    cv2 = opencv()
    columns, rows = _centres(width, patch, step), _centres(height, patch, step)
    size = patch / SIFT_WIDTH
    return [cv2.KeyPoint(x, y, size, 0.0) for y in rows for x in columns]


def _centres(side: int, patch: int, step: int) -> list[float]:
    """The centres of patches along one side, in pixels; both ends have equal margins."""
    if side < patch:
        return [(side - 1) / 2]
    count = (side - patch) // step + 1
    rest = (side - patch) - (count - 1) * step
    first = rest // 2 + (patch - 1) / 2
    return [first + k * step for k in range(count)]


def _tools(descriptor: str, most: int) -> Any:
    """This thread's detector and extractor."""
    known = _own.__dict__.setdefault("tools", {})
    if (descriptor, most) not in known:
        known[descriptor, most] = _MAKERS[descriptor](opencv(), most)
    return known[descriptor, most]


def _both(made: Any) -> tuple[Any, Any]:
    return made, made


def _kaze(cv2: Any, most: int) -> tuple[Any, Any]:
    place = cv2 if hasattr(cv2, "KAZE_create") else cv2.xfeatures2d  # OpenCV 5 moved it
    return _both(place.KAZE_create())


_MAKERS: dict[str, Callable[[Any, int], tuple[Any, Any]]] = {
    "sift": lambda cv2, most: _both(cv2.SIFT_create()),
    "dense_sift": lambda cv2, most: _both(cv2.SIFT_create(sigma=GRID_BLUR)),
    "kaze": _kaze,
    "orb": lambda cv2, most: _both(cv2.ORB_create(most or 2000)),
    "fast_freak": lambda cv2, most: (
        cv2.FastFeatureDetector_create(),
        cv2.xfeatures2d.FREAK_create(),
    ),
}

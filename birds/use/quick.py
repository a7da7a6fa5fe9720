"""A first look at photos within a minute: a frozen encoder, simple heads, cross-validation.

No network is trained, and only the report is kept. Letters: N labelled and U unlabelled images, F
features, S classes.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.core.machine import cores
from birds.core.parts import chosen_part
from birds.core.randomness import stream
from birds.core.spec import ImageChoices, Part
from birds.data.deal import scanned
from birds.data.decode import Unreadable, look_of
from birds.data.sources import Item, Source
from birds.encoders import create_encoder
from birds.methods.classify.heads import create_head
from birds.use.calibration import softmax
from birds.use.cross_validation import folds, group_numbers, refuse_small
from birds.use.predict import decoded_batches

HEADS = ("logistic", "class_means", "knn")
MOST = 600  # how many images are used, labelled and unlabelled
UNLABELLED_SHARE = 0.4  # largest share of unlabelled images among them
FAR = 0.95  # an image is far above this quantile of the labelled images' distances

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class QuickLook:
    """The result of a first look. Probabilities are out of fold: no image was in its own training.

    accuracy: of each head. probability: of the best head, (N, S) and (U, S). nearest: cosine
    distance to the nearest labelled image, of labelled (N,) and unlabelled images (U,).
    """

    classes: tuple[str, ...]
    files: tuple[Path, ...]
    label: NDArray[np.int64]
    features: NDArray[np.float32]
    accuracy: dict[str, float]
    head: str
    probability: Floats
    files_unlabelled: tuple[Path, ...]
    features_unlabelled: NDArray[np.float32]
    probability_unlabelled: Floats
    nearest: Floats
    nearest_unlabelled: Floats
    found: dict[str, int]
    unreadable: tuple[Path, ...]

    @property
    def far(self) -> NDArray[np.bool_]:
        """Which unlabelled images (U,) are far from all labelled images.

        Far means a larger distance to the nearest labelled image than nearly all labelled images
        have.
        """
        if not len(self.nearest_unlabelled):
            return np.zeros(0, bool)
        return np.asarray(self.nearest_unlabelled > np.quantile(self.nearest, FAR))


def quick_encoder(library: str, model: str, weights: str | None) -> tuple[Part, ImageChoices]:
    """The encoder of a first look: a library's network with weights, or else a random U-Net.

    The random filters of an untrained U-Net are better than nothing.
    """
    if weights is None:
        words = {"name": "unet_s", "part": "unet", "stem": 2, "widths": (24, 48, 96, 192)}
        return chosen_part("encoder", words), ImageChoices(size=128)
    words = {"name": library, "model": model, "weights": weights}
    return chosen_part("encoder", words), ImageChoices(size=224)


def quick_look(
    source: Any,
    unlabelled: Sequence[Path],
    encoder: tuple[Part, ImageChoices],
    *,
    most: int = MOST,
    seed: int = 0,
) -> QuickLook:
    """Look at a source's images, groups held out together, and at further unlabelled files.

    Raises UserError if there are fewer than two classes, or one image or group in a class."""
    labelled, others, counted = _drawn(source, unlabelled, most, seed)
    encode, image = _opened(*encoder, seed), encoder[1]
    files = [source.file(item.id) for item in labelled]
    features, kept, broken = _encoded(encode, image, files)
    features_unlabelled, kept_others, broken_others = _encoded(encode, image, others)
    names = [str(labelled[k].label) for k in kept]
    classes = tuple(sorted(set(names)))
    label = np.array([classes.index(name) for name in names])
    group = group_numbers([labelled[k].group for k in kept])
    refuse_small(classes, label, group)
    accuracy, best, probability = _best_head(features, label, group, seed)
    counted["groups"] = len(np.unique(group))
    head = _fitted(best, features, label, len(classes), seed)
    return QuickLook(
        classes,
        tuple(files[k] for k in kept),
        label,
        features,
        accuracy,
        best,
        probability,
        tuple(others[k] for k in kept_others),
        features_unlabelled,
        _chances(head, features_unlabelled, len(classes)),
        _nearest(features, features, itself=True),
        _nearest(features_unlabelled, features),
        counted,
        (*broken, *broken_others),
    )


def _opened(part: Part, image: ImageChoices, seed: int) -> Any:
    """The encoder as a function from images, uint8 (N, H, W, C), to features (N, F)."""
    torch.manual_seed(seed)
    torch.set_num_threads(cores())
    network = create_encoder(part, image).eval()

    @torch.no_grad()
    def encode(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        features: NDArray[np.float32] = network.features(pixels).numpy()
        return features

    return encode


def _chances(head: Any, features: NDArray[np.float32], classes: int) -> Floats:
    """Probabilities (U, S) by a fitted head; an empty array if there are no images."""
    if not len(features):
        return np.zeros((0, classes))
    return softmax(head.scores(features))


def _best_head(
    features: NDArray[np.float32], label: NDArray[np.int64], group: NDArray[np.int64], seed: int
) -> tuple[dict[str, float], str, Floats]:
    """The cross-validated accuracy of each head, the best head's name, and its probabilities."""
    out_of_fold = {name: _out_of_fold(name, features, label, group, seed) for name in HEADS}
    accuracy = {name: float((p.argmax(1) == label).mean()) for name, p in out_of_fold.items()}
    best = max(accuracy, key=accuracy.__getitem__)
    return accuracy, best, out_of_fold[best]


def _drawn(
    source: Source, unlabelled: Sequence[Path], most: int, seed: int
) -> tuple[list[Item], list[Path], dict[str, int]]:
    """The labelled and unlabelled images that are used, and how many of each there are in all.

    The labelled images are drawn in equal numbers from the classes.
    """
    where: Any = source
    if not hasattr(where, "file"):
        raise UserError(f"the images of {source.place} are not files; birds quick needs files")
    items = scanned(source).items
    by_class: dict[str, list[Item]] = {}
    others = [*unlabelled]
    for item in items:
        if item.label is None:
            others.append(where.file(item.id))
        else:
            by_class.setdefault(item.label, []).append(item)
    counted = {"labelled": sum(map(len, by_class.values())), "unlabelled": len(others)}
    if len(by_class) < 2:
        raise UserError(f"{source.place} has images of {len(by_class)} classes; two are needed")
    room = min(len(others), round(UNLABELLED_SHARE * most))
    shown = [others[k] for k in _some(len(others), room, seed)]
    each = max(2, (most - room) // len(by_class))
    kept: list[Item] = []
    for own in by_class.values():
        kept += [own[k] for k in _some(len(own), each, seed)]
    return kept, shown, counted


def _some(count: int, most: int, seed: int) -> list[int]:
    order = stream(seed, "quick").permutation(count)[:most]
    return sorted(int(k) for k in order)


def _encoded(
    encode: Any, image: ImageChoices, files: Sequence[Path]
) -> tuple[NDArray[np.float32], list[int], list[Path]]:
    """Features of the readable files, the positions of these files, and the unreadable files."""
    kept: list[int] = []
    broken: list[Path] = []
    blocks: list[NDArray[np.float32]] = []
    place = 0
    for batch, pixels in decoded_batches(files, look_of(image)):
        whole: list[NDArray[np.uint8]] = []
        for path, found in zip(batch, pixels, strict=True):
            if isinstance(found, Unreadable):
                broken.append(path)
            else:
                whole.append(found)
                kept.append(place)
            place += 1
        if whole:
            blocks.append(encode(np.stack(whole)))
    features = np.concatenate(blocks) if blocks else np.zeros((0, 1), np.float32)
    return features, kept, broken


def _out_of_fold(
    name: str,
    features: NDArray[np.float32],
    label: NDArray[np.int64],
    group: NDArray[np.int64],
    seed: int,
) -> Floats:
    classes = int(label.max()) + 1
    probability = np.zeros((len(label), classes))
    for train, held_out in folds(label, group, seed):
        head = _fitted(name, features[train], label[train], classes, seed)
        probability[held_out] = softmax(head.scores(features[held_out]))
    return probability


def _fitted(
    name: str, features: NDArray[np.float32], label: NDArray[np.int64], classes: int, seed: int
) -> Any:
    options: dict[str, Any] = {"name": name}
    if name == "logistic":
        options |= {"C": 0.01, "iterations": 300}
    head = create_head(chosen_part("head", options), features.shape[1], classes)
    head.fit(features, label, seed)
    return head


def _nearest(
    features: NDArray[np.float32], labelled: NDArray[np.float32], *, itself: bool = False
) -> Floats:
    """The cosine distance of each row to the nearest labelled row.

    With `itself`, the rows are the labelled ones, and a row is not compared with itself.
    """
    if not len(features):
        return np.zeros(0)
    centre = labelled.mean(0)
    mine, theirs = (_directions(rows - centre) for rows in (features, labelled))
    cosine = mine @ theirs.T
    if itself:
        np.fill_diagonal(cosine, -1)
    return np.asarray(1 - cosine.max(1), np.float64)


def _directions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-9))

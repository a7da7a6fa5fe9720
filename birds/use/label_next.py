"""Chooses images to label next, and simulates how much this choice helps.

It takes diverse batches of uncertain images (Zhdanov 2019, arXiv:1901.05954): the images with the
smallest margin between the two most probable classes are grouped by k-means into as many clusters
as images are wanted, and the least confident image of each cluster is taken.
"""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from birds.core.randomness import stream, stream_seed
from birds.core.spec import UserError
from birds.core.store import write_atomically
from birds.methods.classify.heads import create_head
from birds.use.picture import Sheets
from birds.use.predict import Prediction
from birds.use.scored import ScoredRun

CANDIDATES = 10  # how many images are clustered, per image to label
COMPONENTS = 64  # principal components of the features for k-means
ROUNDS = 4
START = 2  # labels of each class at the start of a simulation
SEEDS = tuple(range(10))

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Simulated:
    """The result of a simulation: which test images were right.

    labels: the total number of labels in each round (R).
    right: (2, R, S, N), chosen images first, then random ones; for S seeds and N test images.
    title: the name of the encoder.
    """

    labels: tuple[int, ...]
    right: Floats
    title: str


def choose(probability: Floats, features: NDArray[np.float32], count: int, seed: int) -> Rows:
    """The positions of `count` images to label, most uncertain first.

    Args:
        probability: (N, S).
        features: (N, F).
        count: how many images to choose.
        seed: for k-means.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    ordered = np.sort(probability, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    order: Rows = np.argsort(margin, kind="stable")
    count = min(count, len(order))
    candidates = order[: CANDIDATES * count]
    if count == len(candidates):
        return candidates
    length = np.linalg.norm(features[candidates], axis=1, keepdims=True)
    vectors = features[candidates] / np.maximum(length, 1e-9)
    components = min(COMPONENTS, *vectors.shape)
    reduced = PCA(components, random_state=0).fit_transform(vectors)
    state = stream_seed(seed, "label next") % 2**32
    weight = 1 - margin[candidates] + 1e-6
    clusters = KMeans(count, n_init=1, random_state=state).fit_predict(
        reduced, sample_weight=weight
    )
    first = [int(np.flatnonzero(clusters == k)[0]) for k in np.unique(clusters)]
    taken = candidates[sorted(first)]
    if len(taken) < count:  # if images are equal, some clusters are empty
        further = candidates[~np.isin(candidates, taken)]
        taken = np.concatenate([taken, further[: count - len(taken)]])
    return taken


def chosen_images(run: ScoredRun, count: int) -> Rows:
    """The rows of the unlabelled images of a run to label next, most uncertain first.

    Raises UserError when there are no unlabelled images.
    """
    if not len(run.unlabelled):
        raise UserError(
            f"run {run.folder.key} ({run.spec.title}) has no unlabelled image to choose from; "
            "choose another with --run KEY"
        )
    features = run.features("unlabelled")
    places = choose(run.probability(features), features, count, run.spec.seed)
    return run.unlabelled[places]


def _guesses(run: ScoredRun, rows: Rows) -> list[list[tuple[str, float]]]:
    features = run.features("unlabelled")
    place = np.searchsorted(run.unlabelled, rows)
    probability = run.probability(features[place])
    found = []
    for chances in probability:
        best = np.argsort(-chances, kind="stable")[:3]
        found.append([(run.data.images.classes[k], float(chances[k])) for k in best])
    return found


def write_table(run: ScoredRun, rows: Rows, file: Path) -> None:
    """Write a CSV that data=table can read.

    The chosen images come first, without labels. Then comes every other image with its label and
    part; labels that the run's cut hides stay empty.
    """
    images = run.data.images
    hidden = set(run.unlabelled.tolist())
    chosen = set(rows.tolist())
    lines: list[list[str]] = []
    for row, ranked in zip(rows.tolist(), _guesses(run, rows), strict=True):
        name, chance = ranked[0]
        lines.append([images.ids[row], "", "train", name, f"{chance:.3f}"])
    for row, name in enumerate(images.ids):
        if row in chosen:
            continue
        known = row not in hidden and images.label[row] >= 0
        label = images.classes[images.label[row]] if known else ""
        lines.append([name, label, str(images.part[row]), "", ""])

    def write(out: IO[bytes]) -> None:
        text = io.TextIOWrapper(out, encoding="utf-8", newline="")
        table = csv.writer(text)
        table.writerow(["file", "label", "part", "guess", "probability"])
        table.writerows(lines)
        text.flush()
        text.detach()

    write_atomically(file, write)


def write_sheet(run: ScoredRun, rows: Rows, file: Path) -> Sequence[Path]:
    """Write contact sheets of the chosen images with their predicted classes; returns the files."""
    source = run.data.images.source
    if not hasattr(source, "file"):
        raise UserError(
            f"the images of {source.place} are not separate files: no sheet is possible"
        )
    sheets = Sheets(file)
    for row, ranked in zip(rows.tolist(), _guesses(run, rows), strict=True):
        sheets.add(Prediction(source.file(run.data.images.ids[row]), ranked))
    sheets.close()
    return sheets.written


def simulated(run: ScoredRun, seeds: Sequence[int] = SEEDS) -> Simulated:
    """Reveal labels of the training images in rounds, once for chosen images and once for random
    ones.

    The run's encoder stays frozen; a logistic regression is fitted anew in each round. Raises
    UserError if there are too few images.
    """
    images, data = run.data.images, run.data
    rows = images.labelled_rows()
    label = images.label[rows]
    classes = len(images.classes)
    step = (len(rows) - START * classes) // (2 * ROUNDS)
    if step < 1 or np.bincount(label, minlength=classes).min() < START:
        raise UserError(
            f"{len(rows)} training images are too few for a simulation of {ROUNDS} rounds"
        )
    step = min(step, START * classes)
    data.rows["train"] = rows
    train, test = run.features("train"), run.features("test")
    test_label = data.label[data.rows["test"]]
    right = np.zeros((2, ROUNDS + 1, len(seeds), len(test)))
    for k, seed in enumerate(seeds):
        for way in (0, 1):
            shown = _first_labels(label, seed)
            for number in range(ROUNDS + 1):
                head = _fitted(train[shown], label[shown], classes)
                right[way, number, k] = head.scores(test).argmax(1) == test_label
                rest = np.setdiff1d(np.arange(len(rows)), shown)
                if way == 0:
                    chances = np.exp(head.scores(train[rest]).astype(np.float64))
                    added = rest[choose(chances, train[rest], step, seed)]
                else:
                    order = stream(seed, "at random", number).permutation(len(rest))
                    added = rest[order[:step]]
                shown = np.concatenate([shown, added])
    totals = tuple(START * classes + step * number for number in range(ROUNDS + 1))
    return Simulated(totals, right, run.spec.encoder.name)


def _first_labels(label: Rows, seed: int) -> Rows:
    """START images of each class, drawn with the seed."""
    found = []
    for k in np.unique(label):
        own = np.flatnonzero(label == k)
        found.append(stream(seed, "simulation", int(k)).permutation(own)[:START])
    return np.concatenate(found)


def _fitted(features: NDArray[np.float32], label: Rows, classes: int) -> Any:
    from birds.core.parts import chosen_part

    head = create_head(chosen_part("head", {"name": "logistic"}), features.shape[1], classes)
    head.fit(features, label, 0)
    return head

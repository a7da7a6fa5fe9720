"""Measures each layer of a run's encoder, to show where the classes separate.

A layer's vectors get two numbers. The silhouette (-1 to 1; Rousseeuw 1987,
10.1016/0377-0427(87)90125-7) measures how well test images of different classes are separated. The
linear probe (Alain and Bengio 2016, arXiv:1610.01644) is the test accuracy of a logistic regression
on the labelled images' vectors. Two layers, an intermediate one and the last, are drawn by t-SNE
(van der Maaten and Hinton 2008), which preserves neighbours but not distances.
"""

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.frame import BROKEN, predictions
from analysis.intervals import wilson
from analysis.latent_space import silhouette, tsne
from birds.core.spec import UserError
from birds.core.store import RunFolder, write_atomically, write_text

PROBE_STEPS = 500  # maximum of steps of the logistic regression
FEWEST_CLASSES = 2


@dataclasses.dataclass(frozen=True)
class Layers:
    """The layers of a run.

    rows: for each layer its name, silhouette, probe (accuracy), probe_low and probe_high.
    drawn: places (N, 2) of the test images, by the name of the drawn layer.
    label, wrong: the class of the same images, and whether the run classified them wrongly.
    """

    rows: list[dict[str, Any]]
    drawn: dict[str, NDArray[np.float32]]
    label: NDArray[np.int64]
    wrong: NDArray[np.bool_]


def drawn_layers(names: Sequence[str]) -> list[str]:
    """The middle layer and the last one; of two layers, the first counts as the middle one."""
    return list(dict.fromkeys([names[(len(names) - 1) // 2], names[-1]]))


def explore_layers(folder: RunFolder, perplexity: float) -> Layers:
    """Measure and draw the layers saved by `birds.use.layers`; writes the result to the same
    folder.

    Raises UserError if they are missing or have too few images.
    """
    try:
        with np.load(folder.study / "layers.npz", allow_pickle=False) as file:
            saved = {name: file[name] for name in file.files}
    except BROKEN:
        raise UserError(f"the layers of run {folder.key} were not saved; run birds study") from None
    names, seed = saved["names"].tolist(), int(saved["seed"])
    label = saved["test_label"]
    refuse_too_few(label, perplexity)
    rows = []
    for number, name in enumerate(names):
        own = saved[f"test_{number}"]
        accuracy = probe(saved[f"labelled_{number}"], saved["labelled_label"], own, label)
        low, high = wilson(accuracy, len(label))
        measured = {"layer": name, "silhouette": silhouette(own, label), "probe": accuracy}
        rows.append(measured | {"probe_low": low, "probe_high": high, "images": len(label)})
    drawn = {}
    for name in drawn_layers(names):
        drawn[name] = tsne(saved[f"test_{names.index(name)}"], perplexity, seed)
    found = Layers(rows, drawn, label, _wrong(folder, saved["test_image"]))
    _leave(folder, found, perplexity)
    return found


def refuse_too_few(label: NDArray[np.int64], perplexity: float) -> None:
    """Raise UserError for images of a single class, or for too few images for t-SNE."""
    if len(np.unique(label)) < FEWEST_CLASSES:
        raise UserError("layers are compared by the separation of classes, but there is one class")
    most = (len(label) - 1) // 3
    if not 2 <= perplexity <= most:
        raise UserError(
            f"--perplexity {perplexity:g} does not suit {len(label)} images; choose 2 to {most}"
        )


def probe(
    known: NDArray[np.float32],
    known_label: NDArray[np.int64],
    asked: NDArray[np.float32],
    asked_label: NDArray[np.int64],
) -> float:
    """The accuracy on `asked` (N, D) of a logistic regression on standardised `known` (M, D)."""
    import warnings

    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=PROBE_STEPS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning that it did not converge
        model.fit(known, known_label)
    return float((model.predict(asked) == asked_label).mean())


def _wrong(folder: RunFolder, images: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of these test images the run classified wrongly; all False if unknown."""
    saved = predictions(folder.path.parent, folder.key, "test_image", "test_logits", "test_label")
    if saved is None:
        return np.zeros(len(images), bool)
    names, logits, label = saved
    mistaken = dict(zip(names.tolist(), logits.argmax(1) != label, strict=True))
    return np.array([bool(mistaken.get(image, False)) for image in images.tolist()])


def _leave(folder: RunFolder, found: Layers, perplexity: float) -> None:
    arrays: dict[str, Any] = {"label": found.label, "wrong": found.wrong}
    arrays["drawn"] = np.array(list(found.drawn))
    for number, places in enumerate(found.drawn.values()):
        arrays[f"places_{number}"] = places
    write_atomically(folder.study / "drawn.npz", partial(np.savez_compressed, **arrays))
    about = {"key": folder.key, "perplexity": perplexity, "layers": found.rows}
    write_text(folder.study / "layers.json", json.dumps(about, indent=1))


def read_layers(folder: RunFolder) -> Layers | None:
    """The layers of a run as saved by `birds study`; None if missing or incomplete."""
    try:
        rows = json.loads((folder.study / "layers.json").read_text())["layers"]
        with np.load(folder.study / "drawn.npz", allow_pickle=False) as saved:
            names = saved["drawn"].tolist()
            drawn = {name: saved[f"places_{number}"] for number, name in enumerate(names)}
            return Layers(rows, drawn, saved["label"], saved["wrong"])
    except (*BROKEN, TypeError):
        return None

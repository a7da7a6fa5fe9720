"""A model card from a run's record: data, accuracy, confused classes, weights, size and speed.

After Mitchell et al. (2019, 10.1145/3287560.3287596). Every number comes from the record, the run's
saved predictions, or the latency rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.frame import predictions
from analysis.latency import read_rows
from analysis.markdown import markdown
from birds.core.proportions import wilson
from birds.core.store import RunFolder

CONFUSED = 10  # pairs of classes that are listed


def model_card(folder: RunFolder, sizes: dict[str, int], sentence: str) -> str:
    """The card of a finished classifier as Markdown.

    Args:
        folder: its run.
        sizes: bytes by the name of the file.
        sentence: the error rate of unsure and other predictions.
    """
    record = folder.record()
    assert record is not None
    row = record.model_dump()
    sections = [
        f"# {row['variant']} on {row['data_name']}: {len(row['classes'])} classes",
        f"Run `{row['key']}`, trained by birds (recipe {row['recipe']}, code "
        f"{row['git_sha'][:12]}).",
        "## Data\n\n" + _data(row),
        "## Accuracy\n\n" + _accuracy(folder, row, sentence),
        "## Confused classes\n\n" + _confusions(folder),
        "## Weights\n\n" + _weights(row),
        "## Size and speed\n\n" + _size(folder, row, sizes),
        "## Not for\n\nPhotos of other classes: the model gives one of its own classes for every "
        "photo. Check the photos that it calls unsure, and test it on your own photos first.",
    ]
    return "\n\n".join(sections) + "\n"


def _data(row: dict[str, Any]) -> str:
    cut = f"{row['split']} % of the training images were treated as unlabelled"
    if row.get("choice.labels_per_class"):
        cut = f"{row['choice.labels_per_class']} labelled images per class"
    lines = [
        f"- Data set `{row['data_name']}` (digest `{row['data_digest']}`); {cut}; seed "
        f"{row['seed']}.",
        f"- {row['images_labelled']} labelled, {row['images_unlabelled']} unlabelled, "
        f"{row['images_valid']} validation and {row['images_test']} test images.",
        f"- Images of {row['choice.image.size']} pixels per side, "
        f"{row['choice.image.channels']} channels, resized by {row['choice.image.resize']}.",
        f"- Classes: {', '.join(row['classes'])}.",
    ]
    return "\n".join(lines)


def _accuracy(folder: RunFolder, row: dict[str, Any], sentence: str) -> str:
    words = f"Accuracy on the test images: {100 * row['test_accuracy']:.1f} %"
    saved = predictions(folder.path.parent, folder.key, "test_logits", "test_label")
    if saved is not None:
        right = int((saved[0].argmax(1) == saved[1]).sum())
        ends = wilson(right, len(saved[1]))
        words += f" (95 % interval {100 * ends.low:.1f} to {100 * ends.high:.1f}, over images)"
    words += f"; macro F1 {100 * row['test_macro_f1']:.1f} %."
    words += " The interval is for this model on similar images, not for the method."
    return f"{words}\n\n{sentence}".strip()


def _confusions(folder: RunFolder) -> str:
    saved = predictions(folder.path.parent, folder.key, "test_logits", "test_label", "classes")
    if saved is None:
        return "The predictions on the test images are missing."
    logits, label, classes = saved
    rows = confused_pairs(label, logits.argmax(1), [str(name) for name in classes])
    if not rows:
        return "No test image was classified wrongly."
    return markdown(["class", "predicted as", "times", "of"], rows)


def confused_pairs(
    label: NDArray[np.int64], guess: NDArray[np.int64], classes: Sequence[str]
) -> list[list[str]]:
    """The most confused pairs: true class, predicted class, how often, of how many images."""
    table = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(table, (label, guess), 1)
    images = table.sum(1)
    np.fill_diagonal(table, 0)
    rows = []
    for place in np.argsort(-table.ravel(), kind="stable")[:CONFUSED]:
        true, called = divmod(int(place), len(classes))
        if table[true, called]:
            count = str(table[true, called])
            rows.append([classes[true], classes[called], count, str(images[true])])
    return rows


def _weights(row: dict[str, Any]) -> str:
    start = str(row.get("choice.encoder.options.weights", "none"))
    name = str(row.get("choice.encoder.options.model", row["choice.encoder.name"]))
    if start == "none":
        return f"The encoder ({name}) started from random weights; it contains no other weights."
    if start == "pretrained":
        library = row["choice.encoder.name"]
        return f"The encoder ({name}) started from the weights of {library}; its terms apply."
    return (
        f"The encoder ({name}) started from weights in a file (`{start}`). Their licence is "
        "unknown: find it where the file was published, and add it to this card."
    )


def _size(folder: RunFolder, row: dict[str, Any], sizes: dict[str, int]) -> str:
    lines = [f"- {row['cost_parameters'] / 1e6:.2f} million parameters in the trained model."]
    lines += [f"- `{name}`: {size / 1e6:.1f} MB" for name, size in sizes.items()]
    rows = read_rows(folder.path.parent)
    if len(rows):
        rows = rows[rows["key"] == folder.key]
    if not len(rows):
        return "\n".join([*lines, "- Latency was not measured (`birds latency`)."])
    for found in rows.to_dict("records"):
        if "median_ms" in found:
            lines.append(
                f"- {found['model']}: {found['median_ms']:.1f} ms per batch of {found['batch']} on "
                f"{found['device']} with {found['threads']} threads ({found['machine']})."
            )
    return "\n".join(lines)

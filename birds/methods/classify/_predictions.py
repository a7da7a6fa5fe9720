"""Saves a classifier's predictions in the run's folder, and computes its metrics for the record."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from birds.core.guesses import telling
from birds.core.store import write_atomically
from birds.core.thumbnails import save_thumbnails
from birds.data.module import NOISY
from birds.methods import Job
from birds.methods.classify._robustness import accuracy_under_noise
from birds.metrics.classification import classification_metrics

Predictions = dict[str, dict[str, Tensor]]  # part -> logits (N, S), label (N,), row (N,)


def measured_predictions(
    predicted: Predictions, noisy_hits: Bool[Tensor, "N L"] | None, job: Job
) -> dict[str, Any]:
    """The record's metrics of the test and validation images, and the training accuracy.

    `noisy_hits`: correct or not, per image of the test under noise and noise level; None without
    such a test.
    The predictions of the test and validation images are saved in the run's folder.
    """
    test = predicted["test"]
    clean = test["logits"].argmax(1) == test["label"]
    hits, rows = clean[:, None], test["row"]
    measured: dict[str, Any] = {}
    if noisy_hits is not None:
        rows = torch.from_numpy(job.data.rows[NOISY])
        hits = torch.cat([hits[torch.isin(test["row"], rows)], noisy_hits], dim=1)
        measured |= accuracy_under_noise(hits, job.spec.noise_levels)
    labelled = predicted.pop("labelled", None)
    if labelled is not None:
        right = labelled["logits"].argmax(1) == labelled["label"]
        measured["train_accuracy"] = right.double().mean().item()
    save_predictions(predicted, hits, rows, job)
    save_telling_images(test, job)
    for part, saved in predicted.items():
        measured |= classification_metrics(saved["logits"], saved["label"], prefix=f"{part}_")
    if job.log:
        if noisy_hits is not None:
            job.log.robustness(measured["test_noise"], measured["test_accuracy_noise"])
        truth, guess = test["label"].tolist(), test["logits"].argmax(1).tolist()
        job.log.confusion(truth, guess, list(job.data.images.classes))
    return measured


def save_predictions(
    predicted: Predictions, hits: Bool[Tensor, "N L"], rows: Int64[Tensor, N], job: Job
) -> None:
    """Write logits, labels and image names of each part, and the hits at every noise level.

    `rows` are those of the images in `hits`.
    """
    images = job.data.images
    names = np.array(images.ids)
    arrays: dict[str, Any] = {
        "classes": np.array(images.classes),
        "test_hits_noise": hits.numpy(),
        "test_image_noise": names[rows.numpy()],
    }
    for part, saved in predicted.items():
        arrays[f"{part}_logits"] = saved["logits"].numpy()
        arrays[f"{part}_label"] = saved["label"].numpy()
        arrays[f"{part}_image"] = names[saved["row"].numpy()]
    write_atomically(job.folder.predictions_file, partial(np.savez_compressed, **arrays))


def save_telling_images(test: dict[str, Tensor], job: Job) -> None:
    """Save small copies of the test images with uncertain predictions or with confident wrong ones.

    They are decoded by the run's own data source, so that pictures of errors need no image file.
    """
    chosen = telling(test["logits"].float().numpy(), test["label"].numpy())
    rows = test["row"].numpy()[chosen]
    ids = job.data.images.ids
    pixels = {ids[row]: image for row, image in zip(rows, job.data.decoded(rows), strict=True)}
    save_thumbnails(job.folder.thumbnails_file, pixels)

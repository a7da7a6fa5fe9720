"""Metrics of predictions compared with counts by hand and with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from birds.metrics.classification import classification_metrics
from birds.metrics.cost import forward_flops, parameter_counts
from birds.metrics.reconstruction import photo_scores, reconstruction_metrics, similarity


def predictions(classes: int = 6, images: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    label = torch.randint(0, classes, (images,), generator=random)
    return torch.randn(images, classes, generator=random) + 2 * nn.functional.one_hot(
        label, classes
    ), label


def test_agrees_with_scikit_learn() -> None:
    logits, label = predictions()
    got, predicted, probability = (
        classification_metrics(logits, label),
        logits.argmax(1),
        logits.double().softmax(1),
    )
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(label, predicted))
    assert got["macro_f1"] == pytest.approx(sk.f1_score(label, predicted, average="macro"))
    assert got["recall"] == pytest.approx(list(sk.recall_score(label, predicted, average=None)))
    assert got["auroc"] == pytest.approx(
        sk.roc_auc_score(label, probability, multi_class="ovr"), abs=1e-5
    )
    assert got["top5"] == pytest.approx(sk.top_k_accuracy_score(label, logits, k=5))
    assert got["loss"] == pytest.approx(sk.log_loss(label, probability), abs=1e-4)
    assert got["confusion"] == sk.confusion_matrix(label, predicted).tolist()


def test_a_perfect_and_certain_classifier() -> None:
    label = torch.arange(4).repeat(5)
    got = classification_metrics(100 * nn.functional.one_hot(label).float(), label, prefix="test_")
    assert (got["test_accuracy"], got["test_macro_f1"], got["test_auroc"]) == (1, 1, 1)
    assert got["test_calibration_error"] == pytest.approx(0, abs=1e-6)


def test_calibration_error_of_a_boaster() -> None:
    """It predicts with 100 % confidence and is right half the time, so the error is one half."""
    label = torch.tensor([0, 1] * 50)
    logits = torch.tensor([[50.0, 0.0]]).repeat(100, 1)
    assert classification_metrics(logits, label)["calibration_error"] == pytest.approx(
        0.5, abs=1e-4
    )


def test_two_classes_and_no_images() -> None:
    logits, label = predictions(classes=2)
    assert classification_metrics(logits, label)["top5"] == 1
    with pytest.raises(ValueError, match="no predictions"):
        classification_metrics(logits[:0], label[:0])


def test_reconstruction_scores() -> None:
    photo = torch.rand(3, 3, 32, 32)
    perfect = reconstruction_metrics(photo_scores(photo, photo))
    assert perfect == {"mse": 0, "psnr": float("inf"), "ssim": pytest.approx(1)}
    off = reconstruction_metrics(photo_scores((photo * 0.5 + 0.2), photo), prefix="test_")
    assert off["test_psnr"] == pytest.approx(-10 * np.log10(off["test_mse"]))
    assert 0 < off["test_ssim"] < 1


def test_costs_of_a_known_layer() -> None:
    layer = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    assert parameter_counts(layer) == {"cost_parameters": 216, "cost_parameters_trained": 216}
    layer.requires_grad_(False)
    assert parameter_counts(layer)["cost_parameters_trained"] == 0
    cpu = torch.device("cpu")
    assert forward_flops(layer, (3, 16, 16), cpu) == 2 * 216 * 16 * 16
    grey = nn.Conv2d(1, 8, 3, padding=1, bias=False)
    assert forward_flops(grey, (1, 28, 28), cpu) == 2 * 72 * 28 * 28


@pytest.mark.parametrize("shape", [(3, 128, 128), (1, 28, 28), (3, 8, 40)])
def test_ssim_is_that_of_torchmetrics(shape: tuple[int, int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    one = torch.rand(4, *shape, generator=random)
    one[3] = 0.5  # without any contrast
    two = (one + 0.1 * torch.randn(4, *shape, generator=random)).clamp(0, 1)
    expected = structural_similarity_index_measure(one, two, data_range=1.0, reduction="none")
    assert torch.allclose(similarity(one, two), expected, atol=1e-5)
    assert torch.allclose(similarity(one, one), torch.ones(4), atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):  # where a run of that precision is tested
        assert torch.equal(similarity(one, two), similarity(one, two).float())
        assert torch.allclose(similarity(one, two), expected, atol=1e-5)

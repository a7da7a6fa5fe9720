"""Classification metrics as functions of saved logits and labels (torchmetrics does the
arithmetic).

Letters: N photos, S species.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics.functional import classification as metric

BINS = 15  # of the calibration error, as in Guo et al. (2017, arXiv:1706.04599)


def classification_metrics(
    logits: Float[Tensor, "N S"], label: Int[Tensor, " N"], *, prefix: str = ""
) -> dict[str, Any]:
    """Every metric of the record, fractions of 1 except the loss (nats) and the confusion matrix
    (photos).

    accuracy, top5 (of all when there are five species or fewer: 1), macro_f1, recall (a list, by
    species), auroc (one against the rest, mean over species), calibration_error (expected, 15
    bins), loss (cross entropy), confusion (lists, rows true species). Raises ValueError when there
    are no photos.
    """
    if len(label) == 0:
        raise ValueError("no predictions to measure")
    species = logits.shape[1]
    probability = logits.float().softmax(1)
    micro: Any = {"num_classes": species, "average": "micro"}
    values = {
        "accuracy": metric.multiclass_accuracy(probability, label, **micro).item(),
        "top5": metric.multiclass_accuracy(
            probability, label, top_k=min(5, species), **micro
        ).item(),
        "macro_f1": metric.multiclass_f1_score(probability, label, species, average="macro").item(),
        "auroc": metric.multiclass_auroc(probability, label, species, average="macro").item(),
        "calibration_error": metric.multiclass_calibration_error(
            probability, label, species, n_bins=BINS
        ).item(),
        "loss": torch.nn.functional.cross_entropy(logits.float(), label).item(),
        "recall": metric.multiclass_recall(probability, label, species, average="none").tolist(),
        "confusion": metric.multiclass_confusion_matrix(probability, label, species).tolist(),
    }
    return {prefix + name: value for name, value in values.items()}

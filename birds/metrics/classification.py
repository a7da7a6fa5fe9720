"""Classification metrics as functions of saved logits and labels, computed with torchmetrics.

Letters: N images, S classes.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics.functional import classification as metric

BINS = 15  # bins of the calibration error, as in Guo et al. (2017, arXiv:1706.04599)


def classification_metrics(
    logits: Float[Tensor, "N S"], label: Int[Tensor, " N"], *, prefix: str = ""
) -> dict[str, Any]:
    """All classification metrics of the record, as fractions of 1 except loss and confusion.

    accuracy; balanced_accuracy: the mean recall of the classes that have images; top5: always 1
    with five classes or fewer; macro_f1; recall: a list, by class; auroc: each class against the
    rest, averaged over classes; calibration_error: expected, with 15 bins; loss: cross entropy in
    nats; confusion: lists of image counts, rows are true classes. Raises ValueError when there are
    no images.
    """
    if len(label) == 0:
        raise ValueError("no predictions to measure")
    classes = logits.shape[1]
    probability = logits.float().softmax(1)
    micro: Any = {"num_classes": classes, "average": "micro"}
    values = {
        "accuracy": metric.multiclass_accuracy(probability, label, **micro).item(),
        "balanced_accuracy": balanced_accuracy(probability.argmax(1), label),
        "top5": metric.multiclass_accuracy(
            probability, label, top_k=min(5, classes), **micro
        ).item(),
        "macro_f1": metric.multiclass_f1_score(probability, label, classes, average="macro").item(),
        "auroc": metric.multiclass_auroc(probability, label, classes, average="macro").item(),
        "calibration_error": metric.multiclass_calibration_error(
            probability, label, classes, n_bins=BINS
        ).item(),
        "loss": torch.nn.functional.cross_entropy(logits.float(), label).item(),
        "recall": metric.multiclass_recall(probability, label, classes, average="none").tolist(),
        "confusion": metric.multiclass_confusion_matrix(probability, label, classes).tolist(),
    }
    return {prefix + name: value for name, value in values.items()}


def balanced_accuracy(guess: Int[Tensor, " N"], label: Int[Tensor, " N"]) -> float:
    """The mean, over the classes that have images, of the share of their images that are right.

    Brodersen et al. (2010, 10.1109/ICPR.2010.764).
    """
    right = (guess == label).double()
    recalls = [right[label == k].mean() for k in sorted(set(label.tolist()))]
    return torch.stack(recalls).mean().item()

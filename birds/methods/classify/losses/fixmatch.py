"""FixMatch: confident predictions on weak views are the targets for strong views.

Sohn et al. (2020, arXiv:2001.07685). The mean counts images without a confident prediction as 0.
"""

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from birds.core.randomness import stream_seed
from birds.core.spec import Choices
from birds.data.augmentation import augment, view_parameters

WEAK, STRONG = 0.5, 2.0  # augmentation strengths of the two views; labelled images have 1


class FixMatch(nn.Module):
    """The loss on strong views of unlabelled images."""

    learns = True

    class Options(Choices):
        """weight: of this loss, relative to the loss of the labels; threshold: the lowest
        probability of a confident prediction.

        ratio: how many unlabelled images a step sees for each labelled one; 7 in the paper.
        """

        weight: Annotated[float, Field(ge=0)] = 1.0
        threshold: Annotated[float, Field(gt=0, lt=1)] = 0.95
        ratio: Annotated[int, Field(ge=1, exclude_if=lambda value: value == 1)] = 1

    def __init__(self, options: Any, classifier: Any, job: Any) -> None:
        super().__init__()
        self.weight = options.weight
        self.threshold = options.threshold
        self.ratio = options.ratio

    @classmethod
    def check(cls, options: Any, classifier: Any, spec: Any) -> None:
        """Refuse a frozen encoder, and a threshold that label smoothing makes unreachable."""
        if classifier.train == "head":
            raise ValueError(
                "extra_loss=fixmatch trains on images, not on frozen features; choose train=all or "
                "train=last_stages"
            )
        share = 1 / spec.data.classes if spec.data.classes else 0.0  # not known yet: many classes
        most = 1 - classifier.label_smoothing * (1 - share)
        if options.threshold >= most:
            raise ValueError(
                f"extra_loss.threshold={options.threshold}: with label_smoothing="
                f"{classifier.label_smoothing} a classifier's confidence is at most {most:.3g}; "
                "choose label_smoothing=0 or a smaller threshold"
            )

    def loss(self, classifier: Any, data: Any) -> Tensor:
        """The loss of a batch of unlabelled images. Logs `train_sure`, the share of confident
        images.
        """
        step = classifier.global_step
        image = data.unlabelled(step, classifier.device, plain=True, ratio=self.ratio)["image"]
        seed = stream_seed(classifier.spec.seed, "fixmatch")
        views = []
        for k, strength in enumerate((WEAK, STRONG)):
            looks = classifier.spec.data.looks
            table = view_parameters(seed, 2 * step + k, len(image), strength, looks=looks)
            views.append(augment(image, torch.from_numpy(table).to(image.device)))
        with torch.no_grad():
            sureness, guess = classifier(views[0]).softmax(1).max(1)
        sure = (sureness >= self.threshold).float()
        classifier.log(
            "train_sure", sure.mean(), on_step=False, on_epoch=True, batch_size=len(image)
        )
        loss: Tensor = F.cross_entropy(classifier(views[1]), guess, reduction="none") * sure
        return loss.mean()

"""The pretraining continues together with the labels: its loss on unlabelled images is added."""

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from birds.core.parts import part_class
from birds.core.spec import Choices


class Joint(nn.Module):
    """The pretraining that the classifier started from; it shares the classifier's encoder."""

    learns = True

    class Options(Choices):
        """weight: of this loss, relative to the loss of the labels."""

        weight: Annotated[float, Field(ge=0)] = 1.0

    def __init__(self, options: Any, classifier: Any, job: Any) -> None:
        super().__init__()
        self.weight = options.weight
        self.source = job.given[0]
        self.source.encoder = classifier.encoder

    @classmethod
    def check(cls, options: Any, classifier: Any, spec: Any) -> None:
        """Refuse a start without a pretraining, and pretrainings that cannot be continued."""
        refuse_without_pretraining("joint", classifier, spec)
        pretraining = spec.needs[0]
        made_by = part_class("pretraining", pretraining.method.place)
        if not hasattr(made_by, "training_loss"):
            raise ValueError(
                f"extra_loss=joint continues to restore images, but pretraining="
                f"{pretraining.variant} restores none; choose extra_loss=none or "
                "pretraining=autoencode"
            )

    def loss(self, classifier: Any, data: Any) -> Tensor:
        """The pretraining's loss on a batch of unlabelled images."""
        step = classifier.global_step
        image = data.unlabelled(step, classifier.device)["image"]
        random = classifier.random("joint", step)
        value: Tensor = self.source.training_loss(image, random, progress=1.0)
        return value


def refuse_without_pretraining(name: str, classifier: Any, spec: Any) -> None:
    """Raise ValueError unless the classifier starts from a pretraining and trains its encoder."""
    if not spec.needs:
        raise ValueError(f"extra_loss={name} needs a pretraining; choose start=run")
    if classifier.train == "head":
        raise ValueError(
            f"extra_loss={name} trains the encoder too; choose train=all or train=last_stages"
        )

"""The standard classifier is four choices: start x what is trained x head x extra loss.

start: `init` starts from an untrained encoder or from its own weights, `run` from a pretraining.
train: `head` keeps the encoder frozen, `last_stages` trains its last stages, `all` trains
everything. head: trained by gradient descent (linear, mlp) or fitted by scikit-learn on frozen
features. extra_loss: a loss on unlabelled images in addition to the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from birds.core.parts import options_of, part_class
from birds.core.spec import Choices, Part, RunSpec
from birds.core.store import RunFolder
from birds.encoders import blank_encoders, sketched_encoder
from birds.methods import Job
from birds.methods.classify._network import Network, finished_network


class Standard:
    """Makes a classifier from its four choices."""

    class Options(Choices):
        """The four choices, and how an encoder is trained together with its head.

        last_stages: how many stages are trained with train=last_stages. label_smoothing: the share
        of a label that is spread over all classes. lr_decay: the learning rate of each stage of the
        encoder is that of the next deeper stage times this. batchnorm: whether BatchNorm statistics
        follow the labelled images or stay as pretrained. ema: decay of the moving average of the
        weights that is evaluated; 0 for none. balance: how classes with few labels get the same
        influence as those with many: `sampling` shows their images more often, `weights` gives
        their images more weight.
        """

        start: Literal["init", "run"]
        train: Literal["head", "last_stages", "all"]
        last_stages: Annotated[int, Field(ge=1)] = 1
        head: Part
        extra_loss: Part = Part(name="none")
        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
        lr_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
        batchnorm: Literal["train", "frozen"] = "train"
        ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
        balance: Literal["none", "sampling", "weights"] = Field(
            default="none", exclude_if=lambda value: value == "none"
        )

        @model_validator(mode="after")
        def _unread_options_are_defaults(self) -> Self:
            """Reset options that these choices do not use to their defaults, so equal runs have one
            key.
            """
            unread = set()
            if self.train != "last_stages":
                unread |= {"last_stages"}
            if self.train == "head":
                unread |= {"lr_decay", "batchnorm"}
            if not by_gradient(self):
                unread |= {"label_smoothing", "ema"}
            for name in unread:
                object.__setattr__(self, name, type(self).model_fields[name].default)
            return self

    @classmethod
    def section(cls, options: Any) -> str | None:
        """The section of a budget that sets how long it trains; None for a head that is fitted."""
        if not by_gradient(options):
            return None
        return "frozen" if options.train == "head" else "classify"

    @classmethod
    def reads_unlabelled(cls, options: Any) -> bool:
        """Whether it learns from unlabelled images itself, so that a wider pool matters."""
        head = part_class("head", options.head.place)
        loss = part_class("extra_loss", options.extra_loss.place)
        return bool(loss.learns or getattr(head, "learns_from_unlabelled", False))

    @classmethod
    def check(cls, options: Any, spec: RunSpec) -> None:
        """Raise ValueError for choices that cannot be combined."""
        if (options.start == "run") != bool(spec.needs):
            raise ValueError(
                f"start={options.start}: start=run needs a pretraining, and start=init must not "
                "have one"
            )
        if not by_gradient(options) and options.train != "head":
            raise ValueError(
                f"head={options.head.name} is fitted on frozen features, so it cannot train an "
                f"encoder (train={options.train}); choose train=head, or head=linear"
            )
        if options.balance != "none" and _counts_classes_equally(options):
            raise ValueError(
                f"balance={options.balance}: head={options.head.name} counts every class equally "
                "already; choose balance=none"
            )
        encoder = sketched_encoder(spec.encoder, spec.image)
        if encoder.by_id:
            _refuse_training_by_id(options, spec)
        if encoder.own_size and by_gradient(options):
            raise ValueError(
                f"head={options.head.name} is trained by gradient descent on views of one size, "
                f"and encoder={spec.encoder.name} reads images at their own; choose train=head "
                "with a head that is fitted, such as head=svm, forest, knn or logistic"
            )
        for kind, part in (("head", options.head), ("extra_loss", options.extra_loss)):
            made_by = part_class(kind, part.place)
            made_by.check(options_of(kind, part), options, spec)

    @classmethod
    def create(cls, job: Job) -> Any:
        """The classifier of a run, untrained."""
        made_by = _made_by(options_of("classifier", job.spec.method))
        return made_by(job.spec, job.data.images.classes, job.data.steps_per_epoch, job)

    @classmethod
    def load(cls, spec: RunSpec, folder: RunFolder, classes: Sequence[str] = ()) -> Any:
        """The finished classifier in evaluation mode."""
        return _made_by(options_of("classifier", spec.method)).load(spec, folder, classes)

    @classmethod
    def network(cls, spec: RunSpec, folder: RunFolder, classes: Sequence[str]) -> Network | None:
        """The finished classifier as one network; None for a fitted head that is none."""
        options = options_of("classifier", spec.method)
        if by_gradient(options):
            return finished_network(spec, options.head, folder, len(classes))
        if not getattr(part_class("head", options.head.place), "has_network", False):
            return None
        with blank_encoders():
            network: Network = cls.load(spec, folder, classes).as_network()
        return network


def _refuse_training_by_id(options: Any, spec: RunSpec) -> None:
    """Raise ValueError if a network is needed but the encoder only looks up features by id."""
    name = spec.encoder.name
    if by_gradient(options) or options.start == "run":
        raise ValueError(
            f"encoder={name} has only vectors and no network, but {spec.variant} trains one; "
            "choose a head that is fitted on frozen features, such as variant=Logistic"
        )
    if spec.noise_levels:
        raise ValueError(f"encoder={name} cannot see images under noise; choose robustness=false")


def by_gradient(options: Any) -> bool:
    """Whether the head of these options is trained by gradient descent."""
    found: bool = part_class("head", options.head.place).by_gradient
    return found


def _counts_classes_equally(options: Any) -> bool:
    head = part_class("head", options.head.place)
    return bool(getattr(head, "counts_classes_equally", False))


def _made_by(options: Any) -> Any:
    if by_gradient(options):
        from birds.methods.classify._by_gradient import GradientClassifier

        return GradientClassifier
    from birds.methods.classify._by_fitting import FittedClassifier

    return FittedClassifier

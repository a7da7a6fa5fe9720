"""What a run is: a frozen value whose hash names its folder.

`PretrainSpec` and `ClassifySpec` hold the choices that change numbers and nothing else; where a run
runs is `Runtime`, which is never hashed. A classifier's spec *contains* the spec of the pretraining
it stands on, reduced to what pretraining reads: two classifiers whose pretraining is the same hold
equal values, so they share one run. Put `RECIPE` up when a change of code changes numbers: old
records keep their keys and are never mixed with new ones.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from birds.core.errors import UserError as UserError

RECIPE = 3
MINIMUM_SIZE = 128  # px; plumage details that tell species apart are gone below it

Scalar = bool | int | float | str


class Choices(BaseModel):
    """Values a person chose: frozen, and nothing unknown is let in."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataChoices(Choices):
    """Which photos, at which size. `digest` stands for the contents of every part after selection."""

    name: str
    digest: str
    size: Annotated[int, Field(ge=MINIMUM_SIZE)]
    species: Annotated[int, Field(ge=2)]
    move_to_test: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]


class EncoderChoices(Choices):
    """An encoder: the module under `birds/models` that builds it and its shape."""

    name: str
    module: str
    stem: Literal[1, 2, 4]
    widths: Annotated[tuple[Annotated[int, Field(ge=4)], ...], Field(min_length=2)]
    norm: Literal["batch", "group"] = "batch"

    @property
    def stride(self) -> int:
        """How many photo pixels one side of the deepest feature map covers."""
        return self.stem << (len(self.widths) - 1)


OPTIONS = {  # what a pretext's options mean, and the range of each
    "noise": ("the fraction of pixels replaced", 0, 1),
    "hidden": ("the fraction of patches hidden", 0, 0.95),
    "patch": ("the side of a hidden patch in pixels", 1, 64),
    "kl": ("the weight of the KL divergence", 0, 10),
    "kl_warmup": ("the share of training over which that weight rises", 0, 1),
    "temperature": ("what cosines between looks are divided by", 0.01, 1),
    "strength": ("how much two looks at a photo differ", 0, 2),
    "free_bits": ("how many nats a latent value may cost for nothing", 0, 10),
}


class PretextChoices(Choices):
    """A pretext: the module under `birds/pretext` of that name, and its options."""

    name: str
    options: dict[str, Scalar] = {}

    @model_validator(mode="after")
    def _options_make_sense(self) -> Self:
        for name, value in self.options.items():
            refuse_option(name, value)
        return self

    @property
    def contrastive(self) -> bool:
        """Whether looks are contrasted, in place of photos restored."""
        return "temperature" in self.options


class Training(Choices):
    """How long and how fast to train.

    An epoch repeats the photos until it has at least `min_steps` steps, and stops after `max_steps`
    if that is set. Early stopping counts its `patience` from the share `patience_from` of the
    epochs on; the epoch that is kept is the one of lowest validation loss from the share
    `best_from` on.
    """

    epochs: Annotated[int, Field(ge=1)]
    min_steps: Annotated[int, Field(ge=1)] = 1
    max_steps: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=2)]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    patience: Annotated[int, Field(ge=1)]
    patience_from: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, exclude_if=lambda value: value == 0
    )
    best_from: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, exclude_if=lambda value: value == 0)
    augment: Annotated[float, Field(ge=0, le=2)]


class Run(Choices):
    """What every kind of run chooses."""

    data: DataChoices
    split: Annotated[int, Field(ge=1, le=99)]
    seed: Annotated[int, Field(ge=0)]
    encoder: EncoderChoices
    budget: str
    training: Training

    @model_validator(mode="after")
    def _size_fits_the_encoder(self) -> Self:
        stride = self.encoder.stride
        if self.data.size % stride:
            near = max(round(self.data.size / stride), -(-MINIMUM_SIZE // stride)) * stride
            raise ValueError(
                f"data.size={self.data.size} is not a multiple of {stride}, the stride of encoder={self.encoder.name}; "
                f"choose {near}"
            )
        return self

    def _identity(self, exclude: Any = None) -> str:
        values = {"recipe": RECIPE, **self.model_dump(mode="json", exclude=exclude)}
        return hashlib.sha256(
            json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()[:12]

    @property
    def key(self) -> str:
        """Twelve hex digits that name this run: equal choices, equal key."""
        return self._identity()

    @property
    def family(self) -> str:
        """The key without the seed: runs of one family differ in their seed alone."""
        return self._identity(exclude={"seed": True, "pretrained": {"seed": True}})


class Skips(Choices):
    """What the autoencoder's skip connections let through.

    `skip_drop` is how often a photo goes without them (dropout), `skip_channels` how many channels
    are left (narrow).
    """

    skips: Literal["plain", "dropout", "gated", "narrow"]
    skip_drop: Annotated[float, Field(ge=0, le=1)] = 0.0
    skip_channels: Annotated[int, Field(ge=0)] = 0


class Pool(Choices):
    """Where more unlabelled photos come from than the split gives; `digest` stands for their
    contents.
    """

    name: Literal["split", "all_species", "folder"] = "split"
    digest: str = ""


class PretrainSpec(Run, Skips):
    """One pretraining of an autoencoder, reduced to what it reads; classifiers share it."""

    stage: Literal["pretrain"] = "pretrain"
    pretext: PretextChoices
    pool: Pool = Pool()

    @model_validator(mode="after")
    def _latent_is_used(self) -> Self:
        if "kl" in self.pretext.options and (self.skips != "dropout" or self.skip_drop == 0):
            asked = f"skips={self.skips}" if self.skips != "dropout" else "skip_drop=0"
            raise ValueError(
                f"{asked}: skip connections that are always there bypass the latent, so pretext={self.pretext.name} "
                "would learn to ignore it; choose skips=dropout with skip_drop above 0"
            )
        return self

    @model_validator(mode="after")
    def _patches_fit(self) -> Self:
        patch = int(self.pretext.options.get("patch", 1))
        if self.data.size % patch:
            fits = max(p for p in range(1, patch) if self.data.size % p == 0)
            raise ValueError(
                f"patch={patch}: photos of {self.data.size} px do not divide into such; choose {fits}"
            )
        return self

    @property
    def needs(self) -> None:
        """Pretraining needs no other run."""
        return None

    @property
    def title(self) -> str:
        """A few words for people: what it trains, on which split, with which seed."""
        return f"{self.pretext.name} split={self.split} seed={self.seed}"


class Tuning(Choices):
    """How an encoder is trained together with its head, with what a run does not read at its
    default.

    lr_decay: each level of the encoder learns that much slower than the next deeper one; the head
        at the full rate.
    batchnorm: whether the encoder's BatchNorm statistics follow the labelled photos or stay as
        pretrained.
    ema: decay of the exponential moving average of weights, which is then what is evaluated; 0 for
        none.
    joint_weight: of the loss on unlabelled photos beside the labelled ones (transfer=joint,
        clusters, fixmatch).
    """

    lr_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    batchnorm: Literal["train", "frozen"] = "train"
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    joint_weight: Annotated[float, Field(ge=0)] = 0.0

    def read_by(self, transfer: str) -> dict[str, Any]:
        """What a run with this transfer reads of it."""
        unread = {
            "lr_decay": transfer in HEAD_ALONE,
            "batchnorm": transfer in (*HEAD_ALONE, *ALONE),
            "joint_weight": transfer not in BESIDE,
        }
        return self.model_dump(exclude={name for name, is_unread in unread.items() if is_unread})


ALONE = ("scratch", "untrained", "fixmatch")  # transfers that need no pretraining
HEAD_ALONE = ("frozen", "untrained")  # transfers whose encoder stays as it is
BESIDE = (
    "joint",
    "clusters",
    "fixmatch",
)  # transfers that learn from unlabelled photos beside the labelled ones


class ClassifySpec(Run):
    """One classifier: from scratch, on an untrained encoder, or on the encoder of `pretrained`."""

    stage: Literal["classify"] = "classify"
    variant: str
    transfer: Literal["scratch", "untrained", "frozen", "finetune", "joint", "clusters", "fixmatch"]
    pretrained: PretrainSpec | None
    tuning: Tuning = Tuning()
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    views: Annotated[int, Field(ge=1)] | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, exclude_if=lambda value: value is None
    )

    @model_validator(mode="after")
    def _transfer_has_its_encoder(self) -> Self:
        if (self.transfer in ALONE) != (self.pretrained is None):
            raise ValueError(
                f"transfer={self.transfer} {'takes no' if self.pretrained else 'needs a'} pretrained encoder; "
                "scratch, untrained and fixmatch start from nothing, the others from a pretext"
            )
        if self.transfer == "joint" and self.pretrained and self.pretrained.pretext.contrastive:
            raise ValueError(
                f"transfer=joint goes on restoring photos, but pretext={self.pretrained.pretext.name} restores none; "
                "choose finetune or frozen"
            )
        return self

    @model_validator(mode="after")
    def _threshold_can_be_reached(self) -> Self:
        most = 1 - self.label_smoothing * (1 - 1 / self.data.species)
        if self.threshold and self.threshold >= most:
            raise ValueError(
                f"threshold={self.threshold}: with label_smoothing={self.label_smoothing} a classifier learns to be "
                f"{most:.3g} sure at most; choose label_smoothing=0 or a smaller threshold"
            )
        return self

    @property
    def frozen(self) -> bool:
        """Whether the encoder stays as it is, so that the head alone is trained."""
        return self.transfer in HEAD_ALONE

    @property
    def needs(self) -> PretrainSpec | None:
        """The run that must be finished before this one can start, if any."""
        return self.pretrained

    @property
    def title(self) -> str:
        """A few words for people: variant, split, seed."""
        return f"{self.variant} split={self.split} seed={self.seed}"


RunSpec = PretrainSpec | ClassifySpec


class Runtime(Choices):
    """Where and how a run runs: never hashed, always recorded."""

    runs_dir: Path
    cache_dir: Path
    data_root: Path
    pool_root: Path | None = None
    skip_unreadable: bool = False
    device: str = "auto"
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    threads: int | Literal["auto"] = "auto"
    tracking: Literal["offline", "online", "none"] = "offline"
    features: Literal["cached", "live"] = "cached"
    compile: bool | Literal["auto"] = "auto"


def refuse_option(name: str, value: object) -> None:
    """Raise ValueError unless a pretext's option lies in the range that `OPTIONS` gives for it."""
    if name == "loss" and value not in ("all", "hidden"):
        raise ValueError(
            f"loss={value}: choose all or hidden, the pixels over which a masked photo is judged"
        )
    meaning, low, high = OPTIONS.get(name, ("", -math.inf, math.inf))
    number = isinstance(value, int if name == "patch" else int | float) and not isinstance(
        value, bool
    )
    if meaning and not (number and low <= value <= high):  # type: ignore[operator]
        raise ValueError(f"{name}={value}: {name} is {meaning}; choose {low} to {high}")


def spec_from_config(
    config: Mapping[str, Any], data_digest: str, pool_digest: str = ""
) -> ClassifySpec:
    """The classifier's spec that a composed configuration asks for. Raises UserError with the cure on
    nonsense.

    Args:
        config: the resolved configuration as plain containers.
        data_digest: `Photos.digest` of the data set that `config["data"]` selects.
        pool_digest: the same of the further unlabelled photos that `config["pool"]` selects, if
            any.
    """
    head = "frozen" if config["transfer"] in HEAD_ALONE else "classify"
    try:
        _refuse_other_transfer(config)
        return _build(config, data_digest, pool_digest, head)
    except ValueError as error:
        raise UserError(
            _sentence(error, head) if isinstance(error, ValidationError) else str(error)
        ) from None


def _refuse_other_transfer(config: Mapping[str, Any]) -> None:
    """Refuse a transfer that would make the variant another one under the same name."""
    (name, own), asked = (
        (config["variant"][key] for key in ("name", "transfer")),
        config["transfer"],
    )
    if asked != own and (own != "finetune" or asked in ALONE):
        raise ValueError(
            f"transfer={asked}: variant={name} is transfer={own}; frozen, finetune, joint and clusters are "
            "choices for variants that are fine-tuned, such as B2, DAE and DVAE"
        )


def _build(
    config: Mapping[str, Any], data_digest: str, pool_digest: str, head: str
) -> ClassifySpec:
    transfer, budget = config["transfer"], config["budget"]
    tuning = Tuning.model_validate({name: config[name] for name in Tuning.model_fields})
    data = {k: config["data"][k] for k in ("name", "size", "species", "move_to_test", "seed")}
    shared = {
        "data": data | {"digest": data_digest},
        "split": config["split"],
        "seed": config["seed"],
        "encoder": config["encoder"],
        "budget": budget["name"],
    }
    pretraining = shared | _pretraining(config, pool_digest)
    return ClassifySpec.model_validate(
        {
            **shared,
            "training": budget[head],
            "variant": config["variant"]["name"],
            "transfer": transfer,
            "pretrained": None if transfer in ALONE else pretraining,
            "tuning": tuning.read_by(transfer),
            "label_smoothing": config["label_smoothing"],
            "dropout": config["dropout"],
            "views": budget["views"] if transfer in HEAD_ALONE else None,
            "threshold": config["threshold"] if transfer == "fixmatch" else None,
        }
    )


def _pretraining(config: Mapping[str, Any], pool_digest: str) -> dict[str, Any]:
    """What pretraining alone chooses. Noise and skips are refused here also for variants that do
    not read them.
    """
    refuse_option("noise", config["noise"])
    read = {"dropout": ("skip_drop",), "narrow": ("skip_channels",)}.get(config["skips"], ())
    skips = {"skips": config["skips"]} | {name: config[name] for name in read}
    Skips.model_validate(skips)
    pretext, pool = dict(config["pretext"]), str(config["pool"])
    chosen = PretextChoices(name=pretext.pop("name"), options=pretext)
    if chosen.contrastive:
        skips = {"skips": "plain"}  # there is no decoder that would read them
    return {
        "training": config["budget"]["pretrain"],
        "pretext": chosen.model_dump(),
        "pool": {
            "name": pool if pool in ("split", "all_species") else "folder",
            "digest": pool_digest,
        },
        **skips,
    }


_MEANINGS = {
    "split": "split is the percentage of each species' training photos treated as unlabelled; choose 1 to 99",
    "seed": "a seed is a whole number, 0 or more",
    "data.size": f"smaller photos lose what tells birds apart; choose {MINIMUM_SIZE} or more",
}


def complaint(error: ValidationError, place: str | None = None) -> str:
    """The first complaint of a pydantic error: `key=value: why not`, with the key as it was asked
    for at `place`.
    """
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"])) if place is None else place
    said = first["msg"].removeprefix("Value error, ")
    return f"{key}={first['input']}: {_MEANINGS.get(key, said[0].lower() + said[1:])}"


def _sentence(error: ValidationError, head: str) -> str:
    """The same for a configuration's spec; what our own validators say is a sentence already."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return first["msg"].removeprefix("Value error, ")
    section = "pretrain" if first["loc"][:1] == ("pretrained",) else head
    place = ".".join(str(part) for part in first["loc"] if part not in ("pretrained", "tuning"))
    return complaint(error, re.sub(r"^training\.", f"budget.{section}.", place))


def read_spec(text: str) -> RunSpec:
    """The spec saved in a run folder. Raises ValidationError when the text is none."""
    values = json.loads(text)
    model = PretrainSpec if values.get("stage") == "pretrain" else ClassifySpec
    return model.model_validate(values)

"""What a run is: a frozen value whose hash names its folder.

`PretrainSpec` and `ClassifySpec` hold the choices that change numbers and nothing else; where a run runs is `Runtime`,
which is never hashed. A classifier's spec *contains* the spec of the pretraining it stands on, reduced to what
pretraining reads: two classifiers whose pretraining is the same hold equal values, so they share one run.
Put `RECIPE` up when a change of code changes numbers: old records keep their keys and are never mixed with new ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

RECIPE = 1
MINIMUM_SIZE = 128  # px; plumage details that tell species apart are gone below it

Scalar = bool | int | float | str


class Refused(ValueError):
    """An input that cannot be worked with; the message says what was asked, why not, and the cure. Exit status 2."""


class Choices(BaseModel):
    """Values a person chose: frozen, and nothing unknown is let in."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataChoices(Choices):
    """Which photos, at which size. `digest` stands for the contents of every part after selection."""

    name: str
    digest: str
    size: int
    species: Annotated[int, Field(ge=2)]
    move_to_test: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]

    @field_validator("size")
    @classmethod
    def _large_enough(cls, size: int) -> int:
        if size < MINIMUM_SIZE:
            raise ValueError(f"photos of {size} px lose what tells birds apart; choose {MINIMUM_SIZE} or more")
        return size


class EncoderChoices(Choices):
    """An encoder: the module under `birds/models` that builds it and its shape."""

    name: str
    module: str
    stem: Literal[1, 2, 4]
    widths: Annotated[tuple[Annotated[int, Field(ge=4)], ...], Field(min_length=2)]

    @property
    def stride(self) -> int:
        """How many photo pixels one side of the deepest feature map covers."""
        return self.stem << (len(self.widths) - 1)


class PretextChoices(Choices):
    """A pretext: the module under `birds/pretext` of that name, and its options."""

    name: str
    options: dict[str, Scalar] = {}

    @model_validator(mode="after")
    def _noise_is_a_fraction(self) -> Self:
        noise = self.options.get("noise")
        if noise is not None:
            refuse_noise(noise)
        return self


class Training(Choices):
    """How long and how fast to train.

    An epoch repeats the photos until it has at least `min_steps` steps, and stops after `max_steps` if that is set.
    """

    epochs: Annotated[int, Field(ge=1)]
    min_steps: Annotated[int, Field(ge=1)] = 1
    max_steps: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=2)]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    patience: Annotated[int, Field(ge=1)]
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
        return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:12]

    @property
    def key(self) -> str:
        """Twelve hex digits that name this run: equal choices, equal key."""
        return self._identity()


class Skips(Choices):
    """How the autoencoder's skip connections are trained: `skip_drop` is how often a photo goes without them."""

    skips: Literal["plain", "dropout"]
    skip_drop: Annotated[float, Field(ge=0, le=1)] = 0.0


class PretrainSpec(Run, Skips):
    """One pretraining of an autoencoder, reduced to what it reads; classifiers share it."""

    stage: Literal["pretrain"] = "pretrain"
    pretext: PretextChoices

    @property
    def family(self) -> str:
        """The key without the seed: runs of one family differ in their seed alone."""
        return self._identity(exclude={"seed": True})

    @property
    def needs(self) -> None:
        """Pretraining needs no other run."""
        return None

    @property
    def title(self) -> str:
        """A few words for people: what it trains, on which split, with which seed."""
        return f"{self.pretext.name} split={self.split} seed={self.seed}"


class ClassifySpec(Run):
    """One classifier: from scratch, or on the encoder of `pretrained`."""

    stage: Literal["classify"] = "classify"
    variant: str
    transfer: Literal["scratch", "frozen", "finetune"]
    pretrained: PretrainSpec | None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    views: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _transfer_has_its_encoder(self) -> Self:
        if (self.transfer == "scratch") != (self.pretrained is None):
            raise ValueError(
                f"transfer={self.transfer} {'takes no' if self.pretrained else 'needs a'} pretrained encoder; "
                "frozen and finetune start from a pretext, scratch from nothing"
            )
        return self

    @property
    def family(self) -> str:
        """The key without the seed: runs of one family differ in their seed alone."""
        return self._identity(
            exclude={"seed": True, "pretrained": {"seed": True}} if self.pretrained else {"seed": True}
        )

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
    skip_unreadable: bool = False
    device: str = "auto"
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    threads: int | Literal["auto"] = "auto"
    tracking: Literal["offline", "online", "none"] = "offline"
    features: Literal["cached", "live"] = "cached"


def refuse_noise(noise: object) -> None:
    """Raise ValueError unless `noise` is a fraction of pixels, 0 to 1."""
    if not isinstance(noise, int | float) or isinstance(noise, bool) or not 0 <= noise <= 1:
        raise ValueError(f"noise={noise}: noise is the fraction of pixels replaced; choose 0 to 1")


def spec_from_config(config: Mapping[str, Any], data_digest: str) -> ClassifySpec:
    """The classifier's spec that a composed configuration asks for. Raises Refused with the cure on nonsense.

    Args:
        config: the resolved configuration as plain containers.
        data_digest: `Photos.digest` of the data set that `config["data"]` selects.
    """
    head = "frozen" if config["variant"]["transfer"] == "frozen" else "classify"
    try:
        return _build(config, data_digest, head)
    except ValidationError as error:
        raise Refused(_sentence(error, head)) from None
    except ValueError as error:
        raise Refused(str(error)) from None


def _build(config: Mapping[str, Any], data_digest: str, head: str) -> ClassifySpec:
    refuse_noise(config["noise"])
    skips = {"skips": config["skips"], "skip_drop": config["skip_drop"] if config["skips"] == "dropout" else 0.0}
    Skips.model_validate(skips)  # also for variants that do not read them
    transfer, budget = config["variant"]["transfer"], config["budget"]
    data = {k: config["data"][k] for k in ("name", "size", "species", "move_to_test", "seed")}
    shared = {
        "data": data | {"digest": data_digest},
        "split": config["split"],
        "seed": config["seed"],
        "encoder": config["encoder"],
        "budget": budget["name"],
    }
    pretrained = None
    if transfer != "scratch":
        pretext = dict(config["pretext"])
        pretrained = {
            **shared,
            "training": budget["pretrain"],
            "pretext": {"name": pretext.pop("name"), "options": pretext},
            **skips,
        }
    return ClassifySpec.model_validate(
        {
            **shared,
            "training": budget[head],
            "variant": config["variant"]["name"],
            "transfer": transfer,
            "pretrained": pretrained,
            "label_smoothing": config["label_smoothing"],
            "dropout": config["dropout"],
            "views": budget["views"] if transfer == "frozen" else None,
        }
    )


_MEANINGS = {
    "split": "split is the percentage of each species' training photos treated as unlabelled; choose 1 to 99",
    "seed": "a seed is a whole number, 0 or more",
}


def _sentence(error: ValidationError, head: str) -> str:
    """The first complaint of a pydantic error as one sentence: the key as it was asked, why not."""
    first = error.errors()[0]
    section = "pretrain" if first["loc"][:1] == ("pretrained",) else head
    place = ".".join(str(part) for part in first["loc"] if part != "pretrained")
    place = place.replace("training.", f"budget.{section}.") if place.startswith("training.") else place
    if first["type"] == "value_error":
        return first["msg"].removeprefix("Value error, ")
    return f"{place}={first['input']}: {_MEANINGS.get(place, first['msg'][0].lower() + first['msg'][1:])}"


def read_spec(text: str) -> RunSpec:
    """The spec saved in a run folder. Raises ValidationError when the text is none."""
    values = json.loads(text)
    model = PretrainSpec if values.get("stage") == "pretrain" else ClassifySpec
    return model.model_validate(values)

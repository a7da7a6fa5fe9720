"""What a run is: a frozen value whose hash names its folder.

A `RunSpec` holds the choices that change numbers and nothing else; where a run runs is `Runtime`,
which is never hashed. A run contains the specs of the runs that it needs, reduced to what those
read: two classifiers that stand on the same pretraining hold equal values, so they share one run.

This module speaks closed words only. What an encoder, a pretraining or a head can be told is known
to that part alone: here it is a `Part`, a name with options. Put `RECIPE` up when a change of code
changes numbers: old records keep their keys and are never mixed with new ones.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from birds.core.errors import UserError as UserError

RECIPE = 4
SEED_FREE = ("seed",)  # what `family` leaves out, at every depth


class Choices(BaseModel):
    """Values that a person chose: frozen, and nothing unknown is let in."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# A folder may be called 2024, which a command line reads as a number.
NUMBERS_ARE_NAMES = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Part(Choices):
    """A part by its name, and its options.

    name: what people call it; the name of its YAML.
    part: the module in the folder of its kind, or `package.module:Class`; the name where empty.
    options: every option of the part, validated and completed by the part itself.
    """

    name: str
    part: str = Field(default="", exclude_if=lambda value: value == "")
    options: dict[str, Any] = {}

    @property
    def place(self) -> str:
        """The module, or `package.module:Class`, that the part comes from."""
        return self.part or self.name


class Looks(Choices):
    """How augmentation may change an image; digits, for one, must not be mirrored.

    mirror: whether images may be mirrored.
    rotation: the largest angle in radians at strength 1.
    zoom: how much larger an image gets at most, as a fraction, at strength 1.
    zoom_out: how much smaller it gets at most, as a fraction, at strength 1.
    shear: the largest shear at strength 1.
    colour: how far brightness, contrast and saturation may be from 1 at strength 1.
    """

    mirror: bool = True
    rotation: Annotated[float, Field(ge=0, le=3.2)] = 0.25
    zoom: Annotated[float, Field(ge=0, le=3)] = 0.7
    zoom_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    shear: Annotated[float, Field(ge=0, le=1)] = 0.0
    colour: Annotated[float, Field(ge=0, le=1)] = 0.3


class DataChoices(Choices):
    """Which images. `digest` stands for the contents of every part after selection.

    classes: how many classes are kept, those with most training images.
    test: auto (the data set's own test part, else a share), or how many training images of each
        class are moved to the test part.
    seed: of the images that are moved to other parts.
    """

    name: str
    digest: str
    classes: Annotated[int, Field(ge=2)]
    test: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0
    looks: Looks = Looks()


class ImageChoices(Choices):
    """How an image is given to the encoder: its side in pixels, its channels, how it is resized.

    interpolation: of the pixels, antialiased. crop_pct: with resize=crop, the side of the square
    that is kept, as a share of the image's short side. Both are left out of the key where they are
    what they always were.
    """

    size: Annotated[int, Field(ge=8, le=4096)]
    channels: Literal[1, 3] = 3
    resize: Literal["crop", "squash"] = "crop"
    interpolation: Literal["bicubic", "bilinear"] = Field(
        default="bicubic", exclude_if=lambda value: value == "bicubic"
    )
    crop_pct: float = Field(default=1.0, gt=0, le=1, exclude_if=lambda value: value == 1.0)


class Training(Choices):
    """How long and how fast to train by gradient descent.

    An epoch repeats the images until it has at least `min_steps` steps, and stops after `max_steps`
    if that is set. Early stopping counts its `patience` from the share `patience_from` of the
    epochs on; without `patience` every epoch is trained. The epoch that is kept is the one of
    lowest validation loss from the share `best_from` on.
    """

    epochs: Annotated[int, Field(ge=1)]
    min_steps: Annotated[int, Field(ge=1)] = 1
    max_steps: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=2)]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    patience: Annotated[int, Field(ge=1)] | None = None
    patience_from: Annotated[float, Field(ge=0, lt=1)] = 0.0
    best_from: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: Annotated[float, Field(ge=0, le=2)]


class Pool(Choices):
    """Where more unlabelled images come from than the split gives; `digest` stands for them.

    pollution: with all_classes, per cent of all unlabelled images that are of other classes.
    filter: per cent of validation images that would be kept where far images are left out.
    """

    name: Literal["split", "all_classes", "folder"] = "split"
    digest: str = ""
    pollution: int = Field(default=0, ge=0, le=95, exclude_if=lambda value: value == 0)
    filter: int | None = Field(default=None, ge=50, le=100, exclude_if=lambda value: value is None)


class RunSpec(Choices):
    """One run: a pretraining or a classifier, and the runs that it needs.

    split: per cent of each class's training images treated as unlabelled, 0 to 99.
    labels_per_class: the other way to say it: so many labelled images a class.
    training: None for a method that has no epochs.
    views: how many looks of each labelled image a frozen encoder's head learns from.
    noise_levels: the fractions of pixels replaced in the test under noise; empty for none.
    """

    stage: Literal["pretrain", "classify"]
    variant: str
    data: DataChoices
    image: ImageChoices
    split: Annotated[int, Field(ge=0, le=99)]
    labels_per_class: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)]
    budget: str
    encoder: Part
    method: Part
    training: Training | None = None
    views: Annotated[int, Field(ge=1)] | None = None
    pool: Pool = Pool()
    noise_levels: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    needs: tuple["RunSpec", ...] = ()

    @model_validator(mode="after")
    def _needs_come_from_the_same_cut(self) -> Self:
        for needed in self.needs:
            if (needed.split, needed.seed) != (self.split, self.seed):
                raise ValueError("a run and the runs that it needs share their cut and their seed")
        return self

    def _identity(self, *, without: tuple[str, ...] = ()) -> str:
        values = {"recipe": RECIPE, **_without(self.model_dump(mode="json"), without)}
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def key(self) -> str:
        """Twelve hex digits that name this run: equal choices, equal key."""
        return self._identity()

    @property
    def family(self) -> str:
        """The key without the seed: runs of one family differ in their seed alone."""
        return self._identity(without=SEED_FREE)

    @property
    def kind(self) -> str:
        """The kind of part that its method is."""
        return {"pretrain": "pretraining", "classify": "classifier"}[self.stage]

    @property
    def depth(self) -> int:
        """0 for a run that needs none, else one more than the deepest run that it needs."""
        return max((needed.depth + 1 for needed in self.needs), default=0)

    @property
    def title(self) -> str:
        """A few words for people: what it is, its cut, its seed."""
        cut = f"split={self.split}"
        if self.labels_per_class is not None:
            cut = f"labels_per_class={self.labels_per_class}"
        return f"{self.variant} {cut} seed={self.seed}"

    @property
    def epochs(self) -> int:
        """The most epochs that it trains; 0 for a method that has none."""
        return self.training.epochs if self.training else 0

    def lineage(self) -> Iterator["RunSpec"]:
        """The runs that it needs, the deepest first, and then itself; each once."""
        seen = set()
        for needed in self.needs:
            for run in needed.lineage():
                if run.key not in seen:
                    seen.add(run.key)
                    yield run
        yield self


def _without(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The dumped spec without these top-level fields, in the runs that it needs, too."""
    kept = {name: value for name, value in values.items() if name not in names}
    return kept | {"needs": [_without(needed, names) for needed in kept["needs"]]}


class Runtime(Choices):
    """Where and how a run runs: never hashed, always recorded.

    source: where images lie. files: where the files lie that choices name, by their SHA-256.
    origins: what is known of these files beside their contents: origin, tag, revision, licence.
    """

    runs_dir: Path
    cache_dir: Path
    source: Part
    files: dict[str, Path] = {}
    origins: dict[str, dict[str, str]] = {}
    pool_root: Path | None = None
    skip_unreadable: bool = False
    allow_untested: bool = False
    join_alike: bool | None = None
    keep_class: str | None = None
    min_images: Annotated[int, Field(ge=1)] | None = None
    device: str = "auto"
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    threads: int | Literal["auto"] = "auto"
    tracking: Literal["offline", "online", "none"] = "offline"
    features: Literal["cached", "live"] = "cached"
    encode: Literal["eager", "onnx"] = "eager"
    compile: bool | Literal["auto"] = "auto"

    @property
    def data_root(self) -> Path | None:
        """The folder that the images lie in, where the source has one."""
        root = self.source.options.get("root")
        return Path(str(root)) if root else None


def read_spec(text: str) -> RunSpec:
    """The spec saved in a run folder. Raises ValidationError when the text is none."""
    values: Mapping[str, Any] = json.loads(text)
    return RunSpec.model_validate(values)

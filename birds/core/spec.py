"""The specification of a run: a frozen value whose hash names the run's folder.

A `RunSpec` holds exactly the choices that change results. Where a run runs is its `Runtime`, which
is never hashed. A spec contains the specs of the runs that it needs, reduced to what those read. So
two classifiers with the same pretraining contain equal values and share one run.

The options of an encoder, a pretraining or a head are known only to that part; here they are a
`Part`, a name with options. Raise `RECIPE` when a change of the code changes results: old records
then keep their keys and are never mixed with new ones.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from birds.core.errors import UserError as UserError

RECIPE = 4
SEED_FREE = ("seed",)  # fields that `family` omits, also in needed runs


class Choices(BaseModel):
    """Values chosen by the user: frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# A folder may be called 2024, which a command line reads as a number.
NUMBERS_ARE_NAMES = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Part(Choices):
    """A part by its name, with its options.

    name: its name in the configuration; the name of its YAML.
    part: the module in the folder of its kind, or `package.module:Class`; if empty, the name.
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
    """The limits of augmentation; digits, for example, must not be mirrored.

    mirror: whether images may be mirrored.
    rotation: the largest angle in radians at strength 1.
    zoom: the largest enlargement, as a fraction, at strength 1.
    zoom_out: the largest reduction, as a fraction, at strength 1.
    shear: the largest shear at strength 1.
    colour: the largest distance of brightness, contrast and saturation from 1 at strength 1.
    """

    mirror: bool = True
    rotation: Annotated[float, Field(ge=0, le=3.2)] = 0.25
    zoom: Annotated[float, Field(ge=0, le=3)] = 0.7
    zoom_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    shear: Annotated[float, Field(ge=0, le=1)] = 0.0
    colour: Annotated[float, Field(ge=0, le=1)] = 0.3


class DataChoices(Choices):
    """The choice of images. `digest` is a hash of the contents of every part after selection.

    classes: the number of classes; those with the most training images are kept. null: all, of
        which a planned run knows the number.
    test: auto (the data set's own test part, else a share), or the number of training images of
        each class that are moved to the test part.
    seed: the seed for moving images to other parts.
    """

    name: str
    digest: str
    classes: Annotated[int, Field(ge=2)] | None
    test: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0
    looks: Looks = Looks()


class ImageChoices(Choices):
    """How an image is given to the encoder: side in pixels, channels, resizing.

    interpolation: the interpolation of pixels, antialiased. crop_pct: with resize=crop, the side of
    the kept square as a share of the image's short side. At their defaults, both are omitted from
    the key.
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
    if that is set. Early stopping waits `patience` epochs, counted after the share `patience_from`
    of all epochs; without `patience` every epoch is trained. The kept epoch is the one with the
    lowest validation loss after the share `best_from` of all epochs.
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
    """The source of extra unlabelled images; `digest` is a hash of them.

    pollution: with all_classes, the percentage of unlabelled images that belong to other classes.
    filter: unlabelled images far from the labelled ones are left out, at a distance that would keep
        this percentage of the validation images.
    """

    name: Literal["split", "all_classes", "folder"] = "split"
    digest: str = ""
    pollution: int = Field(default=0, ge=0, le=95, exclude_if=lambda value: value == 0)
    filter: int | None = Field(default=None, ge=50, le=100, exclude_if=lambda value: value is None)


class RunSpec(Choices):
    """One run: a pretraining or a classifier, and the runs that it needs.

    split: percentage of each class's training images treated as unlabelled, 0 to 99.
    labels_per_class: number of labelled images per class, instead of `split`.
    training: None for a method without epochs.
    views: number of augmented views of each labelled image for the head of a frozen encoder.
    noise_levels: fractions of replaced pixels in the test under noise; empty for no such test.
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
                raise ValueError("a run and the runs that it needs must share split and seed")
        return self

    def _identity(self, *, without: tuple[str, ...] = ()) -> str:
        values = {"recipe": RECIPE, **_without(self.model_dump(mode="json"), without)}
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def key(self) -> str:
        """Twelve hex digits that identify this run: equal choices give equal keys."""
        return self._identity()

    @property
    def family(self) -> str:
        """The key without the seed: runs of one family differ only in the seed."""
        return self._identity(without=SEED_FREE)

    @property
    def kind(self) -> str:
        """The kind of its method: pretraining or classifier."""
        return {"pretrain": "pretraining", "classify": "classifier"}[self.stage]

    @property
    def depth(self) -> int:
        """0 for a run without needs, else one more than the deepest run that it needs."""
        return max((needed.depth + 1 for needed in self.needs), default=0)

    @property
    def title(self) -> str:
        """A short title: variant, split and seed."""
        cut = f"split={self.split}"
        if self.labels_per_class is not None:
            cut = f"labels_per_class={self.labels_per_class}"
        return f"{self.variant} {cut} seed={self.seed}"

    @property
    def epochs(self) -> int:
        """The largest number of epochs; 0 for a method without epochs."""
        return self.training.epochs if self.training else 0

    def lineage(self) -> Iterator["RunSpec"]:
        """The runs that it needs, the deepest first, then the run itself; each once."""
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
    """Where and how a run runs; it is never hashed but always recorded.

    source: the place of the images. files: paths of files that choices name by SHA-256. origins:
    facts about these files: origin, tag, revision, licence. robustness_images: the largest number
    of images in the test under noise; None for all of the test part.
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
    encode: Literal["auto", "eager", "onnx"] = "eager"
    compile: bool | Literal["auto"] = "auto"
    robustness_images: Annotated[int, Field(ge=1)] | None = None

    @property
    def data_root(self) -> Path | None:
        """The folder of the images; None if the source has none."""
        root = self.source.options.get("root")
        return Path(str(root)) if root else None


def read_spec(text: str) -> RunSpec:
    """The spec in the text of a `spec.json`. Raises ValidationError for another text."""
    values: Mapping[str, Any] = json.loads(text)
    return RunSpec.model_validate(values)

"""What a variant is called, looks like, and is compared with: read from its YAML, the one place
that says it.

`configs/variant/NAME.yaml` composes a run and describes it, under `variant`. The folder lies beside
this package, or in `BIRDS_HOME`. A variant that nobody described is compared with A, and gets a
colour, a marker and a hatch by its name, always the same.
"""

import itertools
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from birds.core.home import homes as homes
from birds.core.spec import UserError
from birds.core.wrong_values import complaint

REFERENCE = "A"  # what every variant is compared with that does not say otherwise
WORDS = ("supported", "refuted", "cannot tell")  # a claim says how each verdict on it reads
Claims = dict[str, dict[str, str]]  # by language and verdict
# What others are drawn with: colours (Tol 2021, "Colour Schemes"), markers, and hatches.
FURTHER_COLOURS = ("#332288", "#EE3377", "#77AADD", "#225522", "#EEDD88", "#994455", "#6699CC")
FURTHER_MARKERS = ("h", ">", "p", "d", "8")
FURTHER_HATCHES = ("||", "o", "**", "\\\\", "--", "xx")


class Look(NamedTuple):
    """What a variant is drawn with: `colour` as #RRGGBB, a matplotlib `marker` and `hatch`."""

    colour: str
    marker: str
    hatch: str


class Against(BaseModel):
    """A variant to be compared with, and what that comparison claims, by language and verdict.

    Without a claim of its own it is the usual one: see `sentences.yaml`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: str
    claim: Claims = {}

    @field_validator("claim")
    @classmethod
    def _every_verdict_has_its_words(cls, claim: Claims) -> Claims:
        for language, words in claim.items():
            if language not in ("en", "es") or set(words) != set(WORDS):
                raise ValueError(
                    f"a claim has {', '.join(WORDS)} for each of en and es; "
                    f"{language} has {', '.join(words)}"
                )
        return claim


class Variant(BaseModel):
    """The `variant` node of a variant's YAML. All but the name may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: dict[Literal["en", "es"], str] = {}
    short: dict[Literal["en", "es"], Annotated[str, Field(max_length=26)]] = {}
    against: tuple[Against, ...] = (Against(variant=REFERENCE),)
    colour: Annotated[str, Field(pattern="^#[0-9A-Fa-f]{6}$")] | None = None
    marker: str | None = None
    hatch: str | None = None

    @property
    def look(self) -> Look:
        """What it is drawn with; where the YAML does not say it, a choice by its name, which no
        variant of the project has.
        """
        looks = list(itertools.product(FURTHER_COLOURS, FURTHER_MARKERS))
        number = zlib.crc32(self.name.encode())
        colour, marker = looks[number % len(looks)]
        hatch = FURTHER_HATCHES[number % len(FURTHER_HATCHES)]
        return Look(
            colour if self.colour is None else self.colour,
            marker if self.marker is None else self.marker,
            hatch if self.hatch is None else self.hatch,
        )

    def claim(self, against: str) -> Claims:
        """What its comparison with another variant claims, where its YAML says so."""
        for other in self.against:
            if other.variant == against:
                return other.claim
        return {}

    def titled(self, language: str = "en") -> str:
        """What it is, in a few words; its name where nobody said it."""
        titles: Mapping[Any, str] = self.title
        return titles.get(language, self.name)

    def named(self, language: str = "en") -> str:
        """Its name and what it is in two or three words: `B2 · pretrained, fine-tuned`; its name
        alone where nobody said it.
        """
        words: Mapping[Any, str] = self.short
        return f"{self.name} · {words[language]}" if language in words else self.name


def variant(name: str) -> Variant:
    """The variant of that name; one without a YAML is described by its name alone.

    Raises UserError when its YAML describes it wrongly.
    """
    return _variant(name, homes())


@lru_cache
def _variant(name: str, folders: tuple[Path, ...]) -> Variant:
    for folder in folders:
        file = folder / "configs" / "variant" / f"{name}.yaml"
        if Path(name).name == name and file.is_file():
            return _read(file, name)
    return Variant(name=name)


def described_variants() -> tuple[str, ...]:
    """The names of all variants that have a YAML."""
    found = [file.stem for home in homes() for file in home.glob("configs/variant/*.yaml")]
    return tuple(sorted(set(found)))


def _read(file: Path, name: str) -> Variant:
    try:
        node = (yaml.safe_load(file.read_text()) or {}).get("variant") or {}
        return Variant.model_validate({"name": name} | node)
    except ValidationError as error:
        raise UserError(f"{file}: {complaint(error, Variant, 'variant.')}") from None
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"{file} cannot be read as a variant: {first_line}") from None

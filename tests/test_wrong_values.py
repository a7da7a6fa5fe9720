"""The message for a wrong value names the valid values, in our own words and not in a library's."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from birds.core.parts import FOLDERS, part_class, part_names
from birds.core.spec import Choices, RunSpec
from birds.core.wrong_values import complaint

LIBRARY_WORDS = re.compile(r"input should|\bvalid\b|parse|literal\[|constrained")


class Inner(Choices):
    share: Annotated[float, Field(gt=0, le=1)] = 0.5


class Model(Choices):
    inner: Inner = Inner()
    many: Annotated[int, Field(ge=2)] = 2
    test: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    kernel: Literal["linear", "rbf"] = "linear"
    chance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    bounded: Annotated[int, Field(ge=1, le=9)] = 1
    widths: tuple[int, int] = (1, 2)
    on: bool = True
    title: Annotated[str, Field(min_length=2, max_length=4)] = "abc"
    must: int


REFUSALS = [
    ({"inner": {"share": 2}}, "p.inner.share=2: choose a number above 0 and up to 1"),
    ({"many": 1}, "p.many=1: choose 2 or more"),
    ({"many": "a"}, "p.many=a: choose a whole number"),
    ({"test": -4}, "p.test=-4: choose 0 or more or auto"),
    ({"kernel": "rfb"}, "p.kernel=rfb: choose linear or rbf"),
    ({"chance": 1}, "p.chance=1: choose 0 or more and below 1"),
    ({"bounded": 10}, "p.bounded=10: choose 1 to 9"),
    ({"widths": 3}, "p.widths=3: choose a list, as in [1,2]"),
    ({"on": "perhaps"}, "p.on=perhaps: choose true or false"),
    ({"title": "abcde"}, "p.title=abcde: choose a text of at most 4 characters"),
    ({"title": "a"}, "p.title=a: choose a text of at least 2 characters"),
    ({"inner": 3}, "p.inner=3: choose a group of options"),
    ({"odd": 3}, "p.odd=3: choose another key; this one does not exist"),
]


@pytest.mark.parametrize(("values", "said"), REFUSALS)
def test_a_refusal_names_the_range(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"must": 1} | values)
    assert complaint(caught.value, Model, "p.") == said


def test_a_missing_value_is_called_missing() -> None:
    with pytest.raises(ValidationError) as caught:
        Model.model_validate({})
    assert complaint(caught.value, Model) == "must is missing: give it a value"


def test_meanings_of_the_run_spec_are_kept() -> None:
    with pytest.raises(ValidationError) as caught:
        RunSpec.model_validate({"seed": -1})
    errors = [found for found in caught.value.errors() if found["loc"] == ("seed",)]
    alone = ValidationError.from_exception_data(
        "RunSpec", [{"type": "greater_than_equal", "loc": ("seed",), "input": -1, "ctx": {"ge": 0}}]
    )
    assert errors
    assert complaint(alone, RunSpec) == "seed=-1: a seed is a whole number, 0 or more"


def every_option() -> list[tuple[str, str, str]]:
    found = []
    for kind in FOLDERS:
        for name in part_names(kind):
            fields = part_class(kind, name).Options.model_fields
            found += [(kind, name, option) for option in fields]
    return found


@pytest.mark.parametrize("nonsense", ["?!", -1e9, 1e9, {"a": 1}])
def test_no_option_of_any_part_answers_in_the_words_of_a_library(nonsense: Any) -> None:
    for kind, name, option in every_option():
        options = part_class(kind, name).Options
        try:
            options.model_validate({option: nonsense})
        except ValidationError as error:
            said = complaint(error, options, f"{kind}.")
        else:
            continue
        assert not LIBRARY_WORDS.search(said.partition(": ")[2]), said

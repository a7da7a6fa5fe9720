"""Turns pydantic's validation errors into sentences that say which values are allowed."""

import re
from collections.abc import Iterator
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MEANINGS = {
    "split": "split is the percentage of each class's training images treated as unlabelled; "
    "choose 0 to 99",
    "seed": "a seed is a whole number, 0 or more",
    "image.size": "the side of an image in pixels; choose 8 to 4096",
    "image.crop_pct": "the share of the short side that is kept; choose above 0 and up to 1",
    "image.channels": "choose 3 for colour or 1 for grey",
}
# What pydantic appends to the location of a value that may have several types.
KIND = re.compile(
    r"(literal|constrained|lax|list|tuple|function|is-instance)\b.*|int|float|str|none"
)
KINDS = (
    (re.compile("int_.*"), "a whole number"),
    (re.compile("float_.*|finite_number"), "a number"),
    (re.compile("bool_.*"), "true or false"),
    (re.compile("string_.*"), "a text"),
    (re.compile("(tuple|list)_.*"), "a list, as in [1,2]"),
    (re.compile("(dict|model)_.*"), "a group of options"),
    (re.compile("none_.*"), "null"),
    (re.compile("path_.*"), "a path"),
)


def complaint(error: ValidationError, model: type[BaseModel], before: str = "") -> str:
    """The first error of a pydantic ValidationError, as `key=value: what to choose`.

    The messages of our own validators are sentences already and are returned unchanged.

    Args:
        error: the error that the model raised.
        model: the model that rejected the values; its fields hold the allowed ranges.
        before: the prefix of the model's fields on the command line, such as `head.`.
    """
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["msg"]).removeprefix("Value error, ")
    place = _field(first)
    key = before + ".".join(map(str, place))
    if first["type"] == "missing":
        return f"{key} is missing: give it a value"
    same = [found for found in error.errors() if _field(found) == place]
    choices = [_allowed(found, model) for found in same]
    meaning = f"choose {' or '.join(dict.fromkeys(choices))}"
    return f"{key}={first['input']}: {MEANINGS.get(key, meaning)}"


def _field(found: ErrorDetails) -> tuple[int | str, ...]:
    """The location of the value, without the type names that pydantic appends to it."""
    place = tuple(found["loc"])
    while len(place) > 1 and KIND.fullmatch(str(place[-1])):
        place = place[:-1]
    return place


def _allowed(found: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = found["type"], found.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "")
    if kind == "extra_forbidden":
        return "another key; this one does not exist"
    if kind.startswith(("greater_than", "less_than")):
        return _range(list(_bounds(model, _field(found)))) or _one_sided(kind, context)
    if kind in ("string_too_long", "string_too_short"):
        limit = context.get("max_length", context.get("min_length"))
        return f"a text of at {'most' if kind.endswith('long') else 'least'} {limit} characters"
    for pattern, meaning in KINDS:
        if pattern.fullmatch(kind):
            return meaning
    said = str(found["msg"])
    return f"something else ({said[0].lower()}{said[1:]})"


def _bounds(model: Any, place: tuple[int | str, ...]) -> Iterator[Ge | Gt | Le | Lt]:
    """The bounds of the field at this location; none if a model on the path is unknown."""
    for step in place[:-1]:
        model = getattr(_known(model, step), "annotation", None)
    for bound in getattr(_known(model, place[-1]), "metadata", []):
        if isinstance(bound, (Ge, Gt, Le, Lt)):
            yield bound


def _known(model: Any, step: int | str) -> Any:
    fields: dict[str, Any] = getattr(model, "model_fields", {})
    return fields.get(str(step))


def _range(bounds: list[Ge | Gt | Le | Lt]) -> str:
    """In words: `0 to 1`, `above 0 and up to 1`, `2 or more`; empty without bounds."""
    least = next((b for b in bounds if isinstance(b, (Ge, Gt))), None)
    most = next((b for b in bounds if isinstance(b, (Le, Lt))), None)
    if isinstance(least, Ge) and isinstance(most, Le):
        return f"{least.ge} to {most.le}"
    words = []
    if least is not None:
        alone = f"{least.ge} or more" if isinstance(least, Ge) else f"a number above {least.gt}"
        words.append(alone)
    if most is not None:
        words.append(f"up to {most.le}" if isinstance(most, Le) else f"below {most.lt}")
    return " and ".join(words)


def _one_sided(kind: str, context: dict[str, Any]) -> str:
    words = {
        "greater_than": "a number above {gt}",
        "greater_than_equal": "{ge} or more",
        "less_than": "a number below {lt}",
        "less_than_equal": "{le} or less",
    }
    return words[kind].format(**context)

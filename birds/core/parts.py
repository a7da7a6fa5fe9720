"""Finds parts by name: sources, encoders, pretrainings, classifiers, heads and extra losses.

A part is one class in a module of its kind's folder; `package.module:Class` names an external one.
The class defines its options: a nested pydantic model `Options` with ranges and defaults. There is
no registry: every module in the folder can be chosen.
"""

import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from birds.core.errors import nearest
from birds.core.spec import Choices, Part, UserError
from birds.core.wrong_values import complaint

FOLDERS = {
    "source": "birds.data.sources",
    "encoder": "birds.encoders",
    "pretraining": "birds.methods.pretraining",
    "classifier": "birds.methods.classify",
    "head": "birds.methods.classify.heads",
    "extra_loss": "birds.methods.classify.losses",
}
REQUIRED = {  # attributes that a part of each kind must have, in addition to Options
    "source": ("prepare", "scan", "contents", "decode"),
    "encoder": (
        "forward",
        "pool",
        "features",
        "maps",
        "latent_of",
        "depth_groups",
        "for_export",
        "layers",
        "check",
    ),
    "pretraining": ("fit", "measure", "load", "check", "section"),
    "classifier": ("create", "load", "check", "section"),
    "head": ("by_gradient", "check"),
    "extra_loss": ("learns", "check"),
}
UNWRITTEN = "_forward_unimplemented"  # what torch calls the forward of a module without one


@lru_cache
def part_names(kind: str) -> tuple[str, ...]:
    """The names of the parts of one kind that come with the project."""
    package = importlib.import_module(FOLDERS[kind])
    names = []
    for module in pkgutil.iter_modules(package.__path__):
        holds_parts = f"{FOLDERS[kind]}.{module.name}" in FOLDERS.values()
        if not holds_parts and not module.name.startswith("_"):
            names.append(module.name)
    return tuple(sorted(names))


@lru_cache
def part_class(kind: str, place: str) -> Any:
    """The class of a part. Raises UserError when there is none, or when it cannot be used.

    Args:
        kind: a key of FOLDERS.
        place: a module in that kind's folder, or `package.module:Class`.
    """
    module_name, _, class_name = place.partition(":")
    if not class_name:
        if not place.isidentifier() or place not in part_names(kind):
            known = part_names(kind)
            raise UserError(
                f"{kind}={place}: this {kind} does not exist{nearest(place, known)} "
                f"There are: {', '.join(known)}, or package.module:Class"
            )
        module_name = f"{FOLDERS[kind]}.{place}"
    module = _imported(kind, place, module_name)
    found = getattr(module, class_name, None) if class_name else _own_class(module)
    if not inspect.isclass(found):
        where = getattr(module, "__file__", module_name)
        wanted = f"class {class_name}" if class_name else "public class with Options"
        raise UserError(f"{kind}={place}: {where} has no {wanted}")
    _refuse_incomplete(kind, place, found)
    return found


def _imported(kind: str, place: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        first_line = str(error).splitlines()[0] if str(error) else ""
        raise UserError(
            f"{kind}={place} cannot be imported: {type(error).__name__}: {first_line} "
            f"({_line_of(error) or module_name})"
        ) from error


def _line_of(error: Exception) -> str | None:
    """Where an import failed, as `file:line`; None where no file was found."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    files = [f"{frame.filename}:{frame.lineno}" for frame in frames if _is_own(frame.filename)]
    return files[-1] if files else None


def _is_own(file: str) -> bool:
    """Whether a traceback line belongs neither to this module nor to Python's import system."""
    return file != __file__ and "importlib" not in file


def _own_class(module: Any) -> Any:
    """The public class with nested `Options` that the module defines; None if there is none."""
    for name, value in vars(module).items():
        own = inspect.isclass(value) and value.__module__ == module.__name__
        if own and not name.startswith("_") and "Options" in vars(value):
            return value
    return None


def _refuse_incomplete(kind: str, place: str, found: Any) -> None:
    options = getattr(found, "Options", None)
    if not (inspect.isclass(options) and issubclass(options, Choices)):
        raise UserError(
            f"{kind}={place}: {found.__name__} has no Options, a nested class that inherits "
            "birds.core.spec.Choices"
        )
    missing = [name for name in _required(kind, found) if _is_missing(found, name)]
    missing += [name for name in dir(found) if _is_abstract(found, name) and name not in missing]
    if missing:
        raise UserError(
            f"{kind}={place}: {found.__name__} lacks {', '.join(missing)}, which every {kind} must "
            "have"
        )


def _required(kind: str, found: Any) -> tuple[str, ...]:
    """The attributes that a part of this kind must have; for a head they depend on how it
    learns.
    """
    required = REQUIRED[kind]
    if kind == "head" and hasattr(found, "by_gradient"):
        required += ("forward",) if found.by_gradient else ("fit", "scores")
    if kind == "extra_loss" and getattr(found, "learns", False):
        required += ("loss",)
    return required


def _is_missing(found: Any, name: str) -> bool:
    """Whether a class has no such attribute, or torch's placeholder for it."""
    if not hasattr(found, name):
        return True
    return getattr(getattr(found, name), "__name__", "") == UNWRITTEN or _is_abstract(found, name)


def _is_abstract(found: Any, name: str) -> bool:
    """Whether a class has an attribute that its subclasses must write."""
    return bool(getattr(getattr(found, name, None), "__isabstractmethod__", False))


def chosen_part(kind: str, asked: Mapping[str, Any], *, place: str = "") -> Part:
    """The part that a configuration chooses, with validated and completed options.

    Args:
        kind: a key of FOLDERS.
        asked: `name`, perhaps `part`, and options.
        place: the name of these options on the command line, such as `budget.head`; by default
            the kind.

    Raises UserError on an unknown part, an unknown option, or a value out of range.
    """
    options = dict(asked)
    name = str(options.pop("name"))
    part = str(options.pop("part", "") or "")
    made_by = part_class(kind, part or name)
    try:
        complete = made_by.Options.model_validate(options)
        if hasattr(made_by, "complete"):
            complete = made_by.complete(complete)
    except ValidationError as error:
        raise UserError(_wrong_option(kind, part or name, name, place or kind, error)) from None
    own_place = part if part != name else ""
    return Part(name=name, part=own_place, options=complete.model_dump(mode="json"))


def _wrong_option(kind: str, made_by: str, name: str, place: str, error: ValidationError) -> str:
    first = error.errors()[0]
    option = ".".join(str(step) for step in first["loc"])
    if first["type"] != "extra_forbidden":
        return complaint(error, part_class(kind, made_by).Options, f"{place}.")
    own = list(part_class(kind, made_by).Options.model_fields)
    owners = _owners(option)
    if owners:
        have = "has" if len(owners) == 1 else "have"
        owned = f"{' and '.join(owners)} {have} it"
        return f"{place}.{option}: {kind}={name} has no such option; {owned}"
    there = f" It has: {', '.join(own)}" if own else ""
    return f"{place}.{option}: {kind}={name} has no such option{nearest(option, own)}{there}"


def _owners(option: str) -> list[str]:
    """The parts, as `kind=name`, that have an option of this name."""
    owners = []
    for kind in FOLDERS:
        for name in part_names(kind):
            try:
                fields = part_class(kind, name).Options.model_fields
            except UserError:
                continue
            if option in fields:
                owners.append(f"{kind}={name}")
    return owners


def options_of(kind: str, part: Part) -> Any:
    """A part's options as its own model."""
    options: Choices = part_class(kind, part.place).Options.model_validate(part.options)
    return options

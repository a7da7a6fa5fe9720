"""Parts: sources, encoders, pretrainings, classifiers, heads and extra losses, found by name.

A part is one class in one module of its kind's folder; `package.module:Class` names one from
outside. The class owns its options: a nested pydantic model `Options` with ranges and defaults.
Nothing is registered anywhere: a file that is there can be asked for.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from birds.core.errors import nearest
from birds.core.spec import Choices, Part, UserError, complaint

FOLDERS = {
    "source": "birds.data.sources",
    "encoder": "birds.encoders",
    "pretraining": "birds.methods.pretraining",
    "classifier": "birds.methods.classify",
    "head": "birds.methods.classify.heads",
    "extra_loss": "birds.methods.classify.losses",
}
REQUIRED = {  # what a part of each kind must have beside Options
    "source": ("scan", "contents", "decode"),
    "encoder": ("forward", "pool", "depth_groups", "check"),
    "pretraining": ("fit", "measure", "load", "check", "section"),
    "classifier": ("create", "load", "check", "section"),
    "head": ("check",),
    "extra_loss": ("check",),
}


@lru_cache
def part_names(kind: str) -> tuple[str, ...]:
    """The names of the parts of one kind that come with the project."""
    package = importlib.import_module(FOLDERS[kind])
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in names if not name.startswith("_")))


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
            known = list(part_names(kind))
            raise UserError(
                f"{kind}={place}: there is no such {kind}{nearest(place, known)} "
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
            f"{kind}={place} cannot be imported from {module_name}: "
            f"{type(error).__name__}: {first_line}"
        ) from error


def _own_class(module: Any) -> Any:
    """The one public class that the module itself defines with `Options` inside."""
    for name, value in vars(module).items():
        own = inspect.isclass(value) and value.__module__ == module.__name__
        if own and not name.startswith("_") and "Options" in vars(value):
            return value
    return None


def _refuse_incomplete(kind: str, place: str, found: Any) -> None:
    if not (inspect.isclass(getattr(found, "Options", None))):
        raise UserError(f"{kind}={place}: {found.__name__} has no Options, a pydantic model")
    missing = [name for name in REQUIRED[kind] if not hasattr(found, name)]
    if missing:
        raise UserError(
            f"{kind}={place}: {found.__name__} lacks {', '.join(missing)}, which a {kind} must have"
        )


def chosen_part(kind: str, asked: Mapping[str, Any], *, place: str = "") -> Part:
    """The part that a configuration asks for, with its options validated and completed.

    Args:
        kind: a key of FOLDERS.
        asked: `name`, perhaps `part`, and options.
        place: how the command line names these options, such as `budget.head`; the kind where
            empty.

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
        raise UserError(_wrong_option(kind, name, place or kind, error)) from None
    own_place = part if part != name else ""
    return Part(name=name, part=own_place, options=complete.model_dump(mode="json"))


def _wrong_option(kind: str, name: str, place: str, error: ValidationError) -> str:
    first = error.errors()[0]
    option = ".".join(str(step) for step in first["loc"])
    if first["type"] != "extra_forbidden":
        return complaint(error, f"{place}.{option}")
    own = list(part_class(kind, name).Options.model_fields) if name in part_names(kind) else []
    owners = _owners(option)
    if owners:
        return f"{place}.{option}: {kind}={name} has no such option; {' and '.join(owners)} has it"
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

"""Turns a composed configuration into a RunSpec; rejects invalid choices with a cure.

Every part validates its own options. This module checks the conditions on the run as a whole.
"""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError

from birds.core.asked import asked_pool, asked_split, asked_test
from birds.core.old_words import renamed
from birds.core.parts import FOLDERS, chosen_part, options_of, part_class
from birds.core.spec import (
    Choices,
    DataChoices,
    ImageChoices,
    Part,
    Pool,
    RunSpec,
    Training,
    UserError,
)
from birds.core.wrong_values import complaint

NAMED_POOLS = ("split", "all_classes")
DATA_WORDS = {"filter": "unlabelled_filter"}  # words of `data` for fields of a pool


def spec_from_config(config: Mapping[str, Any], data_digest: str, pool_digest: str = "") -> RunSpec:
    """The run of a composed configuration.

    Args:
        config: the resolved configuration as plain containers.
        data_digest: the digest of the images that `config["data"]` selects.
        pool_digest: the digest of the extra unlabelled images of `config["pool"]`, if any.

    Raises UserError, with the cure, for invalid choices.
    """
    try:
        shared = _shared(config, data_digest)
        pool = _pool(config, pool_digest)
        method = _classifier(config)
        chosen_part("pretraining", _without_before(config["pretraining"]))  # only to validate it
        needs = _needs(config, shared, pool) if config["start"] == "run" else ()
        return _built(
            "classifier",
            str(config["variant"]["name"]),
            method,
            config["budget"],
            shared | {"needs": needs, "pool": pool, "noise_levels": _noise_levels(config)},
        )
    except ValidationError as error:
        raise UserError(complaint(error, RunSpec)) from None
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from None


def _shared(config: Mapping[str, Any], data_digest: str) -> dict[str, Any]:
    """The fields that a classifier and the pretraining that it needs share."""
    data = {name: config["data"][name] for name in ("name", "classes", "seed")}
    data["test"] = asked_test(config["data"])
    looks = config["data"].get("looks") or {}
    encoder = chosen_part("encoder", config["encoder"])
    per_class = config["data"]["labels_per_class"]
    return {
        "data": _valid(DataChoices, "data", data | {"digest": data_digest, "looks": looks}),
        "image": _image(config["image"], encoder),
        "split": 0 if per_class is not None else asked_split(config),
        "labels_per_class": per_class,
        "seed": config["seed"],
        "budget": config["budget"]["name"],
        "encoder": encoder,
    }


def _image(asked: Mapping[str, Any], encoder: Part) -> ImageChoices:
    """How images are given to the encoder; `auto` takes the value that its weights expect."""
    made_by = part_class("encoder", encoder.place)
    preferred = {}
    if "auto" in asked.values() and hasattr(made_by, "preferred"):
        preferred = made_by.preferred(options_of("encoder", encoder))
    values = {}
    for name, value in asked.items():
        if value != "auto":
            values[name] = value
        elif name in preferred:
            values[name] = preferred[name]
        elif ImageChoices.model_fields[name].is_required():
            raise UserError(
                f"image.{name}=auto: encoder={encoder.name} has no {name} of its own; choose a "
                f"number, as in image.{name}=128"
            )
    image: ImageChoices = _valid(ImageChoices, "image", values)
    if image.resize == "squash":  # nothing is cut off
        image = image.model_copy(update={"crop_pct": 1.0})
    return image


def _without_before(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A pretraining's own options, without `after`, the pretraining that it continues."""
    return {name: value for name, value in asked.items() if name != "after"}


def _needs(config: Mapping[str, Any], shared: Mapping[str, Any], pool: Pool) -> tuple[RunSpec, ...]:
    """The pretraining that a classifier starts from."""
    return (_pretraining(config["pretraining"], config["budget"], shared, pool),)


def _pretraining(
    asked: Mapping[str, Any], budget: Mapping[str, Any], shared: Mapping[str, Any], pool: Pool
) -> RunSpec:
    after = asked.get("after")
    needs = (_pretraining(after, budget, shared, pool),) if after else ()
    part = chosen_part("pretraining", _without_before(asked))
    own = {**shared, "needs": needs, "pool": pool, "encoder": _shared_by_heads(shared["encoder"])}
    return _built("pretraining", part.name, part, budget, own)


def _shared_by_heads(encoder: Part) -> Part:
    """The encoder with the options that a pretraining reads; all others have their defaults."""
    made_by = part_class("encoder", encoder.place)
    options = made_by.shared_by_heads(options_of("encoder", encoder))
    return encoder.model_copy(update={"options": options.model_dump(mode="json")})


def _classifier(config: Mapping[str, Any]) -> Part:
    """The classifier with its own parts, such as its head."""
    asked = dict(config["classifier"])
    for name, value in asked.items():
        if name in FOLDERS and isinstance(value, Mapping):
            asked[name] = chosen_part(name, value).model_dump(mode="json")
    return chosen_part("classifier", asked, place="")


def _built(
    kind: str,
    variant: str,
    method: Part,
    budget: Mapping[str, Any],
    own: Mapping[str, Any],
) -> RunSpec:
    made_by = part_class(kind, method.place)
    options = options_of(kind, method)
    section = made_by.section(options)
    training = None
    if section is not None:
        training = _valid(Training, f"budget.{section}", budget[section])
    reads_unlabelled = getattr(made_by, "reads_unlabelled", None)
    if reads_unlabelled is not None and not reads_unlabelled(options):
        own = {**own, "pool": Pool()}
    spec = RunSpec(
        stage="classify" if kind == "classifier" else "pretrain",
        variant=variant,
        method=method,
        training=training,
        views=budget["views"] if section == "frozen" else None,
        **own,
    )
    made_by.check(options, spec)
    return spec


def _noise_levels(config: Mapping[str, Any]) -> tuple[float, ...]:
    """The noise levels of the robustness test; empty without `robustness`."""
    if not isinstance(config["robustness"], bool):
        raise UserError(f"robustness={config['robustness']}: choose true or false")
    levels = tuple(config["robustness_levels"]) if config["robustness"] else ()
    if list(levels) != sorted(set(levels)) or 0 in levels:
        raise UserError(
            f"robustness_levels={list(levels)}: give increasing fractions above 0, as in [0.1,0.2]"
        )
    return levels


def _pool(config: Mapping[str, Any], digest: str) -> Pool:
    asked = asked_pool(config)
    if old := renamed("pool", asked.name):
        raise UserError(old)
    name = asked.name if asked.name in NAMED_POOLS else "folder"
    chosen = {"name": name, "digest": digest, "pollution": asked.pollution}
    chosen["filter"] = config["data"].get("unlabelled_filter")
    return cast("Pool", _valid(Pool, "data", chosen))


def _valid(model: type[Choices], place: str, values: Mapping[str, Any]) -> Any:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        before = f"{place}." if place else ""
        said = complaint(error, model, before)
        for field, word in DATA_WORDS.items() if model is Pool else ():
            said = said.replace(f"data.{field}=", f"data.{word}=")
        raise UserError(said) from None

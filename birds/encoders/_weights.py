"""Reads weights from files: safetensors, or PyTorch files without executable code.

Requested weights are never replaced by random ones: a tensor that is missing, unused or of another
shape raises an error with its name.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from birds.core.errors import UserError
from birds.core.files import PREFIX, find_file, identity_of, remember_origin
from birds.core.home import install

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
IN_FOLDERS = ("model.safetensors", "pytorch_model.bin", "model.pth")


def identified(weights: str) -> str:
    """The identity of weights in a key: none, pretrained, or `sha256:<hex>` of a file.

    `weights` may be a file, or a folder that contains `model.safetensors`.
    """
    if weights in ("none", "pretrained") or weights.startswith(PREFIX):
        return weights
    place = Path(weights).expanduser()
    if place.is_dir():
        inside = [place / name for name in IN_FOLDERS if (place / name).is_file()]
        if not inside:
            raise UserError(
                f"encoder.weights={weights}: the folder contains none of {', '.join(IN_FOLDERS)}"
            )
        place = inside[0]
    if not place.is_file():
        raise UserError(
            f"encoder.weights={weights}: this file does not exist; choose none, pretrained, or a "
            "file or folder with weights"
        )
    if place.suffix not in SUFFIXES:
        raise UserError(
            f"encoder.weights={weights}: weights are read from {', '.join(SUFFIXES)} files"
        )
    identity = identity_of(place)
    remember_origin(identity, {"origin": place.name, "licence": _licence_beside(place)})
    return identity


def _licence_beside(file: Path) -> str:
    """The licence in the model card (README.md) in the folder of a weights file, or `unknown`."""
    card = file.parent / "README.md"
    return licence_in(card.read_text(errors="replace") if card.is_file() else "")


def licence_in(card: str) -> str:
    """The licence in the head of a model card (its README.md), or `unknown`."""
    head = re.match(r"---\r?\n(.*?)\n---", card, re.DOTALL)
    stated = re.search(r"^license: *[\"']?([\w.+-]+)", head[1], re.MULTILINE) if head else None
    named = re.search(r"^license_name: *[\"']?([\w.+-]+)", head[1], re.MULTILINE) if head else None
    found = named if named and (stated is None or stated[1] == "other") else stated
    return found[1] if found else "unknown"


def read_weights(identity: str) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises UserError if the file contains anything else."""
    file = find_file(identity)
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors: dict[str, Tensor] = load_file(file)
            return tensors
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except ImportError:
        raise UserError(f"{file} needs the package safetensors: {install('encoders')}") from None
    except Exception as error:
        first_line = str(error).splitlines()[0] if str(error) else ""
        raise UserError(
            f"{file} is not a pure file of weights ({type(error).__name__}: {first_line[:120]}); "
            "pickled objects are rejected, because they can execute code"
        ) from None
    if isinstance(loaded, Mapping):
        for inner in ("state_dict", "model"):
            if isinstance(loaded.get(inner), Mapping):
                loaded = loaded[inner]
    named = {name: value for name, value in dict(loaded).items() if isinstance(value, Tensor)}
    if not named:
        raise UserError(f"{file} contains no tensors")
    return named


def load_into(
    network: nn.Module, weights: Mapping[str, Tensor], *, left_over: tuple[str, ...], order: bool
) -> None:
    """Load weights into a network. Raises UserError with the first tensors that do not fit.

    Args:
        network: gets the weights.
        weights: tensors by name. They may belong to a larger network, in which the names have a
            prefix such as `model.` or `module.backbone.`.
        left_over: prefixes of names that only the file may have, such as `classifier.`.
        order: match tensors by their order instead of their names.
    """
    wanted = network.state_dict()
    given = without_prefix(weights, list(wanted))
    if order:
        given = dict(zip(wanted, list(weights.values()), strict=False))
    counted = "num_batches_tracked"
    shapes = []
    for name, value in given.items():
        if name in wanted and tuple(value.shape) != tuple(wanted[name].shape):
            shapes.append(f"{name} is {tuple(value.shape)}, wanted {tuple(wanted[name].shape)}")
    complain_unless_fitting(
        missing=[name for name in wanted if name not in given and not name.endswith(counted)],
        extra=[name for name in given if name not in wanted and not name.startswith(left_over)],
        shapes=shapes,
    )
    kept = {
        name: value.float() if value.is_floating_point() else value
        for name, value in given.items()
        if name in wanted
    }
    network.load_state_dict(wanted | kept)


def without_prefix(weights: Mapping[str, Tensor], wanted: Sequence[str]) -> dict[str, Tensor]:
    """The weights without a common prefix of their names, if the network's names are all below one.

    Trainers save a network as a part of something larger, so `conv.weight` is called
    `module.conv.weight` or `model.backbone.conv.weight`. Other parts, such as a head, are left out.
    Weights without such a prefix are returned unchanged.
    """
    names = [name for name in wanted if not name.endswith("num_batches_tracked")]
    if not names or names[0] in weights:
        return dict(weights)
    ends = f".{names[0]}"
    prefixes = [name.removesuffix(names[0]) for name in weights if name.endswith(ends)]
    for prefix in prefixes:
        if all(prefix + name in weights for name in names):
            inside = [name for name in weights if name.startswith(prefix)]
            return {name.removeprefix(prefix): weights[name] for name in inside}
    return dict(weights)


def complain_unless_fitting(
    *, missing: Sequence[str], extra: Sequence[str], shapes: Sequence[str]
) -> None:
    """Raise UserError if tensors are missing, unused or of another shape; it names the first of
    them.
    """
    for what, names in (("lacks", missing), ("has besides", extra), ("differs", shapes)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(
                f"encoder.weights do not fit the encoder: the file {what} "
                f"{', '.join(names[:3])}{more}; choose weights of this architecture"
            )

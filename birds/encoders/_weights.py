"""Weights from files: safetensors, or PyTorch's own with nothing executable in them.

Never random weights in the place of those that were asked for: a tensor that is missing, left over
or of another shape is refused by its name.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from birds.core.errors import UserError
from birds.core.files import PREFIX, find_file, identity_of

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
IN_FOLDERS = ("model.safetensors", "pytorch_model.bin", "model.pth")


def identified(weights: str) -> str:
    """What a choice of weights is called in a key: none, pretrained, or `sha256:<hex>` of a file.

    `weights` may be a file, or a folder with `model.safetensors` in it.
    """
    if weights in ("none", "pretrained") or weights.startswith(PREFIX):
        return weights
    place = Path(weights).expanduser()
    if place.is_dir():
        inside = [place / name for name in IN_FOLDERS if (place / name).is_file()]
        if not inside:
            raise UserError(
                f"encoder.weights={weights}: the folder holds none of {', '.join(IN_FOLDERS)}"
            )
        place = inside[0]
    if not place.is_file():
        raise UserError(
            f"encoder.weights={weights}: there is no such file; choose none, pretrained, or a "
            "file or folder with weights"
        )
    if place.suffix not in SUFFIXES:
        raise UserError(
            f"encoder.weights={weights}: weights are read from {', '.join(SUFFIXES)} files"
        )
    return identity_of(place)


def read_weights(identity: str) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises UserError on a file that holds anything else."""
    file = find_file(identity)
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors: dict[str, Tensor] = load_file(file)
            return tensors
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except ImportError:
        raise UserError(
            f"{file} needs the package safetensors: pip install 'birds-sweeps[encoders]'"
        ) from None
    except Exception as error:
        first_line = str(error).splitlines()[0] if str(error) else ""
        raise UserError(
            f"{file} is no file of weights alone ({type(error).__name__}: {first_line[:120]}); "
            "pickled objects are refused, because they can execute code"
        ) from None
    if isinstance(loaded, Mapping):
        for inner in ("state_dict", "model"):
            if isinstance(loaded.get(inner), Mapping):
                loaded = loaded[inner]
    named = {name: value for name, value in dict(loaded).items() if isinstance(value, Tensor)}
    if not named:
        raise UserError(f"{file} holds no tensors")
    return named


def load_into(
    network: nn.Module, weights: Mapping[str, Tensor], *, left_over: tuple[str, ...], order: bool
) -> None:
    """Load weights into a network. Raises UserError with the first tensors that do not fit.

    Args:
        network: whose state they become.
        weights: tensors by name.
        left_over: beginnings of the names that may be in the file alone, such as `classifier.`.
        order: match tensors by their order instead of their names.
    """
    wanted = network.state_dict()
    given = dict(weights)
    if order:
        given = dict(zip(wanted, list(weights.values()), strict=False))
    extra = [name for name in given if name not in wanted and not name.startswith(left_over)]
    counted = "num_batches_tracked"
    missing = [name for name in wanted if name not in given and not name.endswith(counted)]
    shapes = []
    for name, value in given.items():
        if name in wanted and tuple(value.shape) != tuple(wanted[name].shape):
            shapes.append(f"{name} is {tuple(value.shape)}, wanted {tuple(wanted[name].shape)}")
    for what, names in (("lacks", missing), ("has besides", extra), ("differs", shapes)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(
                f"encoder.weights do not fit the encoder: the file {what} "
                f"{', '.join(names[:3])}{more}; choose weights of this architecture"
            )
    kept = {
        name: value.float() if value.is_floating_point() else value
        for name, value in given.items()
        if name in wanted
    }
    network.load_state_dict(wanted | kept)

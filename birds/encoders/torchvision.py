"""Any of torchvision's classification networks, with or without weights.

The maps are the last one of each scale of the convolutional part. The feature vector is the input
of the network's own last layer.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from birds.core.errors import UserError
from birds.core.files import PREFIX, fetch_later, remember_origin, remember_place
from birds.core.spec import ImageChoices
from birds.encoders._backbone import (
    Backbone,
    BackboneOptions,
    library_version,
    missing_library,
    no_such_model,
)
from birds.encoders._preprocessing import IMAGENET_MEAN, IMAGENET_SPREAD, of_torchvision
from birds.encoders._weights import load_into, read_weights


class Torchvision(Backbone):
    """A network of torchvision by its name, such as mobilenet_v2, resnet50 or alexnet."""

    class Options(BackboneOptions):
        """The options of every backbone."""

    @classmethod
    def complete(cls, options: Any) -> Any:
        """The options with the weights' SHA-256, and mean and spread of the library's preset."""
        models = _library(options)
        preset = _preset(models, options)
        changes = {}
        if preset is not None:
            transforms = preset.transforms()
            changes["mean"] = options.mean or tuple(transforms.mean)
            changes["spread"] = options.spread or tuple(transforms.std)
        settled = super().complete(options.model_copy(update=changes))
        if options.weights != "pretrained":
            return settled
        return settled.model_copy(update={"weights": _hub_file(options.model, preset)})

    @classmethod
    def preferred(cls, options: Any) -> dict[str, Any]:
        """The preprocessing of the library's preset, or only its size."""
        preset = _preset(_library(options), options)
        if preset is None:
            return {"size": 224}
        return cls.wanted(options, of_torchvision(preset.transforms()))

    def __init__(self, options: Any, image: ImageChoices) -> None:
        super().__init__()
        self.channels = image.channels
        self.keep_norms(options)
        network = _network(options)
        self.stages = nn.ModuleList(_stages(options.model, network))
        self.last = _before_the_last_layer(network)
        self.scale_by(options.mean or IMAGENET_MEAN, options.spread or IMAGENET_SPREAD)
        self.measure(options, image, self._look, own=224)

    def _look(self, empty: Tensor) -> None:
        """Find out with an empty image after which layers a scale ends."""
        size = empty.shape[-1]
        sides: list[int] = []
        widths: list[int] = []
        x = empty
        for stage in self.stages:
            x = stage(x)
            sides.append(x.shape[-1])
            widths.append(x.shape[1])
        self.feature_dim = self.last(x).shape[1]
        sides.append(0)
        self.ends = [k for k in range(len(widths)) if sides[k + 1] < sides[k] < size]
        self.map_widths = tuple(widths[k] for k in self.ends)
        self.map_strides = tuple(round(size / sides[k]) for k in self.ends)

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """The last map of every scale, then the vector."""
        x = self.scaled(image)
        outputs: list[Tensor] = []
        for k, stage in enumerate(self.stages):
            x = stage(x)
            if k in self.ends:
                outputs.append(x)
        outputs.append(self.last(x))
        return outputs

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """One group for each scale, and one for the layers after the last map if they have
        parameters.
        """
        groups: list[list[nn.Parameter]] = [[]]
        for k, stage in enumerate(self.stages):
            groups[-1] += list(stage.parameters())
            if k in self.ends:
                groups.append([])
        groups[-1] += list(self.last.parameters())
        return [group for group in groups if group]


def _library(options: Any) -> Any:
    try:
        from torchvision import models
    except Exception as error:
        raise missing_library("torchvision", "torchvision", error) from None
    known = models.list_models(module=models)
    if options.model not in known:
        raise UserError(
            f"encoder.model={options.model}: torchvision has no such model"
            f"{no_such_model(options.model, known)}"
        )
    return models


def _network(options: Any) -> nn.Module:
    models = _library(options)
    quiet = {"init_weights": False} if options.model.startswith(("inception", "googlenet")) else {}
    network: nn.Module = models.get_model(options.model, weights=None, **quiet)
    on_meta = torch.zeros(1).is_meta
    if options.weights != "none" and not on_meta:
        weights = read_weights(options.weights)
        load_into(network, weights, left_over=(), order=options.match == "order")
    return network


def _preset(models: Any, options: Any) -> Any:
    """The library's description of a model's own weights: the best ones, or the first for a file.

    Their preprocessing differs.
    """
    known = list(models.get_model_weights(options.model))
    if not known:
        return None
    best = models.get_model_weights(options.model).DEFAULT
    is_best = options.weights in ("pretrained", _identity(best))
    return best if is_best else known[0]


def _identity(preset: Any) -> str:
    """The beginning of the SHA-256 of the library's own weights, from the name of their file."""
    stated = re.search(r"-([0-9a-f]{8,})\.pth$", preset.url)
    assert stated is not None, preset.url
    return PREFIX + stated[1]


def _hub_file(name: str, preset: Any) -> str:
    """The identity of the library's own weights: the beginning of their SHA-256.

    The file is downloaded into TORCH_HOME when it is needed.
    """
    if preset is None:
        raise UserError(f"encoder.weights=pretrained: torchvision has no weights of {name}")
    file_name = preset.url.rpartition("/")[2]
    identity = _identity(preset)
    place = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    origin = {"origin": preset.url, "tag": preset.name, "licence": "unknown"}
    remember_origin(identity, {**origin, "library": library_version("torchvision")})
    if place.is_file():
        remember_place(identity, place)
    fetch_later(identity, partial(_fetched, preset.url, place, identity.removeprefix(PREFIX)))
    return identity


def _fetched(url: str, place: Path, beginning: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(place), hash_prefix=beginning, progress=False)
    except Exception as error:
        raise UserError(
            f"encoder.weights=pretrained: {url} could not be fetched ({type(error).__name__}). "
            f"Where there is a network, download it; put it at {place}, or choose "
            "encoder.weights=FILE"
        ) from None
    return place


def _stages(name: str, network: Any) -> list[nn.Module]:
    """The layers of the convolutional part in their order."""
    if hasattr(network, "features"):
        return list(network.features)
    if hasattr(network, "layer4"):
        stem = nn.Sequential(network.conv1, network.bn1, network.relu)
        layers = [network.layer1, network.layer2, network.layer3, network.layer4]
        return [stem, network.maxpool, *layers]
    raise UserError(
        f"encoder.model={name}: this network has no sequence of layers to read maps from; take "
        "encoder=timm, which has it with maps"
    )


class _Flat(nn.Module):
    """The mean over space."""

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C"]:
        return x.mean((2, 3))


def _before_the_last_layer(network: Any) -> nn.Module:
    """The layers from the last map to the input of the network's own last layer."""
    classifier = getattr(network, "classifier", None)
    if isinstance(classifier, nn.Sequential):
        linear = [layer for layer in classifier if isinstance(layer, nn.Linear)]
        if len(linear) > 1:
            pool = getattr(network, "avgpool", nn.Identity())
            return nn.Sequential(pool, nn.Flatten(), *list(classifier)[:-1])
    return _Flat()

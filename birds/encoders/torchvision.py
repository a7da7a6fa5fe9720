"""Any of torchvision's classification networks, with or without weights.

Maps are the last of each scale of its convolutional part; the feature vector is what its own last
layer sees.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from birds.core.errors import UserError, nearest
from birds.core.spec import ImageChoices
from birds.encoders._backbone import (
    IMAGENET_MEAN,
    IMAGENET_SPREAD,
    Backbone,
    BackboneOptions,
    missing_library,
)
from birds.encoders._weights import load_into, read_weights


class Torchvision(Backbone):
    """A network of torchvision by its name, such as mobilenet_v2, resnet50 or alexnet."""

    class Options(BackboneOptions):
        """As for every backbone."""

    def __init__(self, options: Any, image: ImageChoices) -> None:
        super().__init__()
        self.channels = image.channels
        network = _network(options)
        self.stages = nn.ModuleList(_stages(options.model, network))
        self.last = _before_the_last_layer(network)
        self.scale_by(options.mean or IMAGENET_MEAN, options.spread or IMAGENET_SPREAD)
        self._measure(image)

    def _measure(self, image: ImageChoices) -> None:
        """Find out where a scale ends, by sending an empty image through."""
        on_meta = any(parameter.is_meta for parameter in self.parameters())
        device = "meta" if on_meta else "cpu"
        x = torch.zeros(1, 3, image.size, image.size, device=device)
        sides: list[int] = []
        widths: list[int] = []
        self.eval()
        with torch.no_grad():
            for stage in self.stages:
                x = stage(x)
                sides.append(x.shape[-1])
                widths.append(x.shape[1])
            self.feature_dim = self.last(x).shape[1]
        self.train()
        ends = [k for k in range(len(sides)) if k + 1 == len(sides) or sides[k + 1] < sides[k]]
        self.ends = [k for k in ends if sides[k] < image.size]
        self.map_widths = tuple(widths[k] for k in self.ends)
        self.map_strides = tuple(round(image.size / sides[k]) for k in self.ends)

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
        """A group a scale; what comes after the last map is its own, where it has parameters."""
        groups: list[list[nn.Parameter]] = [[]]
        for k, stage in enumerate(self.stages):
            groups[-1] += list(stage.parameters())
            if k in self.ends:
                groups.append([])
        groups[-1] += list(self.last.parameters())
        return [group for group in groups if group]


def _network(options: Any) -> nn.Module:
    try:
        from torchvision import models
    except Exception as error:
        raise missing_library("torchvision", error) from None
    if options.model not in models.list_models():
        raise UserError(
            f"encoder.model={options.model}: torchvision has no such model"
            f"{nearest(options.model, models.list_models())}"
        )
    on_meta = torch.zeros(1).is_meta
    if options.weights == "pretrained" and not on_meta:
        return _pretrained(models, options.model)
    quiet = {"init_weights": False} if options.model.startswith("inception") else {}
    network: nn.Module = models.get_model(options.model, weights=None, **quiet)
    if options.weights not in ("none", "pretrained") and not on_meta:
        weights = read_weights(options.weights)
        load_into(network, weights, left_over=(), order=options.match == "order")
    return network


def _pretrained(models: Any, name: str) -> nn.Module:
    try:
        network: nn.Module = models.get_model(name, weights="DEFAULT")
    except Exception as error:
        raise UserError(
            f"encoder.weights=pretrained: torchvision could not fetch the weights of {name} "
            f'({type(error).__name__}). Where there is a network, run python -c "import '
            f"torchvision; torchvision.models.get_model('{name}', weights='DEFAULT')\" and copy "
            "the file; then choose encoder.weights=FILE"
        ) from None
    return network


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
    """From the last map to what the network's own last layer sees."""
    classifier = getattr(network, "classifier", None)
    if isinstance(classifier, nn.Sequential):
        linear = [layer for layer in classifier if isinstance(layer, nn.Linear)]
        if len(linear) > 1:
            pool = getattr(network, "avgpool", nn.Identity())
            return nn.Sequential(pool, nn.Flatten(), *list(classifier)[:-1])
    return _Flat()

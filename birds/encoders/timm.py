"""Any of timm's networks, tags included, with or without weights.

Maps come from timm's own `forward_intermediates`, their widths and strides from its `feature_info`;
the feature vector is what its own classifier sees.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from birds.core.errors import UserError, nearest
from birds.core.files import identity_of
from birds.core.spec import ImageChoices
from birds.encoders._backbone import Backbone, BackboneOptions, missing_library
from birds.encoders._weights import load_into, read_weights


class Timm(Backbone):
    """A network of timm by its name, such as resnet50 or vit_base_patch16_224.augreg_in21k."""

    class Options(BackboneOptions):
        """As for every backbone."""

    @classmethod
    def complete(cls, options: Any) -> Any:
        """The options with the SHA-256 of the weights, fetched by the library's hub if need be."""
        if options.weights != "pretrained":
            return super().complete(options)
        return options.model_copy(update={"weights": _hub_file(options.model)})

    def __init__(self, options: Any, image: ImageChoices) -> None:
        super().__init__()
        timm = _library()
        self.channels = image.channels
        self.network = _network(timm, options.model, image)
        on_meta = any(parameter.is_meta for parameter in self.network.parameters())
        if options.weights != "none" and not on_meta:
            left_over = tuple(_names_of_classifier(self.network))
            weights = read_weights(options.weights)
            load_into(self.network, weights, left_over=left_over, order=options.match == "order")
        data = timm.data.resolve_model_data_config(self.network)
        self.scale_by(options.mean or data["mean"], options.spread or data["std"])
        self.feature_dim = self.network.num_features
        self.has_maps = hasattr(self.network, "forward_intermediates")
        if self.has_maps and image.size >= 32:
            info = self.network.feature_info
            self.map_widths = tuple(stage["num_chs"] for stage in info)
            self.map_strides = tuple(stage["reduction"] for stage in info)
            if len(set(self.map_strides)) < len(self.map_strides):  # a ViT: one scale
                self.map_widths, self.map_strides = (), ()
        self.has_maps = bool(self.map_widths)

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """The maps, finest first, then the vector."""
        x = self.scaled(image)
        if not self.has_maps:
            final = self.network.forward_features(x)
            return [self.network.forward_head(final, pre_logits=True)]
        final, maps = self.network.forward_intermediates(x)
        return [*maps, self.network.forward_head(final, pre_logits=True)]

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """timm's own groups by depth."""
        from timm.models import group_parameters

        matcher = self.network.group_matcher(coarse=True)
        by_depth: dict[int, list[str]] = group_parameters(self.network, matcher)
        named = dict(self.network.named_parameters())
        groups = []
        for depth in sorted(by_depth):
            names = [name for name in by_depth[depth] if name in named]
            groups.append([named[name] for name in names])
        return [group for group in groups if group]


def _library() -> Any:
    try:
        import timm
        import timm.data
    except Exception as error:
        raise missing_library("timm", error) from None
    return timm


def _network(timm: Any, name: str, image: ImageChoices) -> Any:
    known = timm.list_models(pretrained=False)
    plain = name.partition(".")[0]
    if plain not in known:
        raise UserError(f"encoder.model={name}: timm has no such model{nearest(plain, known)}")
    try:
        return timm.create_model(name, pretrained=False, num_classes=0)
    except RuntimeError as error:
        raise UserError(f"encoder.model={name}: {error}") from None


def _names_of_classifier(network: Any) -> list[str]:
    classifier = network.pretrained_cfg.get("classifier") or "classifier"
    names = [classifier] if isinstance(classifier, str) else list(classifier)
    return [f"{name}." for name in names]


def _hub_file(name: str) -> str:
    """The SHA-256 of the hub's file for this model, fetched into the hub's own cache."""
    timm = _library()
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise UserError(f"encoder.weights=pretrained: timm knows no weights of {name}")
    from pathlib import Path

    from huggingface_hub import hf_hub_download

    try:
        return identity_of(Path(hf_hub_download(config.hf_hub_id, "model.safetensors")))
    except Exception as error:
        raise UserError(
            f"encoder.weights=pretrained: the weights {config.hf_hub_id} are not in the hub's "
            "cache "
            f"and could not be fetched ({type(error).__name__}). Where there is a network, run "
            f"hf download {config.hf_hub_id} model.safetensors, copy the file, and choose "
            "encoder.weights=FILE"
        ) from None

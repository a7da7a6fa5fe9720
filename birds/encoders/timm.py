"""Any of timm's networks, with or without a tag and with or without weights.

Maps come from timm's own `forward_intermediates`. The feature vector is the input of the network's
own classifier.
"""

import sys
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from birds.core.errors import UserError, nearest
from birds.core.spec import ImageChoices
from birds.encoders._backbone import (
    Backbone,
    BackboneOptions,
    library_version,
    missing_library,
    no_such_model,
)
from birds.encoders._hub import hub_weights
from birds.encoders._preprocessing import of_timm
from birds.encoders._weights import load_into, read_weights, without_prefix


class Timm(Backbone):
    """A network of timm by its name, such as resnet50 or vit_base_patch16_224.augreg_in21k."""

    class Options(BackboneOptions):
        """The options of every backbone."""

    @classmethod
    def complete(cls, options: Any) -> Any:
        """The options with the SHA-256 of the weights, and the library's mean and spread."""
        timm = _library()
        config = _config(timm, options.model)
        data = timm.data.resolve_data_config(pretrained_cfg=config.to_dict())
        changes: dict[str, Any] = {
            "mean": options.mean or tuple(data["mean"]),
            "spread": options.spread or tuple(data["std"]),
        }
        settled = super().complete(options.model_copy(update=changes))
        if options.weights != "pretrained":
            return settled
        return settled.model_copy(update={"weights": _hub_file(options.model, config)})

    @classmethod
    def preferred(cls, options: Any) -> dict[str, Any]:
        """timm's preprocessing for the model's own weights, or only its size."""
        timm = _library()
        config = _config(timm, options.model)
        found = of_timm(timm.data.resolve_data_config(pretrained_cfg=config.to_dict()))
        return cls.wanted(options, found)

    def __init__(self, options: Any, image: ImageChoices) -> None:
        super().__init__()
        timm = _library()
        self.channels = image.channels
        self.keep_norms(options)
        self.network = _network(timm, options.model, image)
        on_meta = any(parameter.is_meta for parameter in self.network.parameters())
        if options.weights != "none" and not on_meta:
            left_over = tuple(_names_of_classifier(self.network))
            weights = read_weights(options.weights)
            if options.match == "names":
                weights = _renamed(self.network, weights)
            load_into(self.network, weights, left_over=left_over, order=options.match == "order")
        data = timm.data.resolve_model_data_config(self.network)
        self.scale_by(options.mean or data["mean"], options.spread or data["std"])
        self.has_maps = hasattr(self.network, "forward_intermediates")
        self.measure(options, image, self._look, own=data["input_size"][-1])

    def _look(self, empty: Tensor) -> None:
        """Find out with an empty image what the maps are; a ViT has maps of one scale, so none are
        used.
        """
        outputs = self(empty)
        maps = outputs[:-1]
        sides = [level.shape[-1] for level in maps]
        self.has_maps = self.has_maps and len(set(sides)) == len(sides)
        self.map_widths = tuple(level.shape[1] for level in maps) if self.has_maps else ()
        strides = tuple(round(empty.shape[-1] / side) for side in sides)
        self.map_strides = strides if self.has_maps else ()
        self.feature_dim = outputs[-1].shape[1]

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """The maps, finest first, then the vector."""
        x = self.scaled(image)
        if not self.has_maps:
            final = self.network.forward_features(x)
            return [self.network.forward_head(final, pre_logits=True)]
        final, maps = self.network.forward_intermediates(x)
        return [*maps, self.network.forward_head(final, pre_logits=True)]

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """timm's own groups of parameters by depth."""
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
        raise missing_library("timm", "timm", error) from None
    return timm


def _config(timm: Any, name: str) -> Any:
    """timm's description of a model's weights. Raises UserError for an unknown model or tag."""
    known = timm.list_models(pretrained=False)
    plain, _, tag = name.partition(".")
    if plain not in known:
        raise UserError(
            f"encoder.model={name}: timm has no such model{no_such_model(plain, known)}"
        )
    config = timm.get_pretrained_cfg(plain)
    if not tag:
        return config
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{plain}.*")]
    if tag not in tags:
        raise UserError(
            f"encoder.model={name}: {plain} has no weights of that tag{nearest(tag, tags)} "
            f"There are: {', '.join(tags) or 'none'}"
        )
    return timm.get_pretrained_cfg(name)


def _network(timm: Any, name: str, image: ImageChoices) -> Any:
    config = _config(timm, name)
    if image.size != config.input_size[-1]:
        try:  # a ViT is built for one size; other networks do not know this argument
            return timm.create_model(name, pretrained=False, num_classes=0, img_size=image.size)
        except TypeError:
            pass
        except (AssertionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"image.size={image.size}: {name} cannot be built with that img_size ({error}); "
                f"choose image.size={config.input_size[-1]}"
            ) from None
    return timm.create_model(name, pretrained=False, num_classes=0)


def _renamed(network: Any, weights: Any) -> Any:
    """The weights converted as timm itself does it.

    Names of a model's authors become timm's, and position embeddings of another size are
    interpolated.
    """
    module = sys.modules[type(network).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is None:
        return weights
    named = without_prefix(weights, list(network.state_dict()))
    try:
        return convert(named, network)
    except Exception:  # weights of another network: `load_into` reports what does not fit
        return weights


def _names_of_classifier(network: Any) -> list[str]:
    classifier = network.pretrained_cfg.get("classifier") or "classifier"
    names = [classifier] if isinstance(classifier, str) else list(classifier)
    return [f"{name}." for name in names]


def _hub_file(name: str, config: Any) -> str:
    """The identity of the hub's file for this model."""
    if not config.hf_hub_id:
        raise UserError(f"encoder.weights=pretrained: timm knows no weights of {name}")
    repository, _, _ = config.hf_hub_id.partition("@")
    origin = {
        "origin": repository,
        "tag": config.tag or "",
        "licence": config.license or "unknown",
        "library": library_version("timm"),
    }
    return hub_weights(repository, origin)

"""Any image model of Hugging Face's transformers, by its name on the hub or from a folder.

The architecture from `config.json` is saved in the run's options, so a finished run needs neither
the hub nor the folder. No code of a model is executed. The feature vector is the input of the
library's own classifiers: the pooled map, the class token, or the mean of the tokens.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from birds.core.errors import UserError
from birds.core.files import remember_origin
from birds.core.spec import ImageChoices
from birds.encoders._backbone import Backbone, BackboneOptions, library_version, missing_library
from birds.encoders._hub import hub_json, hub_text, hub_weights
from birds.encoders._preprocessing import of_processor
from birds.encoders._weights import (
    complain_unless_fitting,
    identified,
    licence_in,
    load_into,
    read_weights,
)

NOT_ARCHITECTURE = (
    "architectures",
    "auto_map",
    "dtype",
    "id2label",
    "label2id",
    "torch_dtype",
    "transformers_version",
    "_name_or_path",
)
HIDDEN = ("reshaped_hidden_states", "hidden_states")  # these may hold maps (B, C, h, w)


class HF(Backbone):
    """A model of transformers, such as google/vit-base-patch16-224 or a folder with its files."""

    class Options(BackboneOptions):
        """config: the architecture, as in config.json. processor: the preprocessing for the
        weights: size, crop_pct, interpolation. Both are read from the model's files if they are not
        given.
        """

        config: dict[str, Any] | None = None
        processor: dict[str, Any] | None = None

    @classmethod
    def complete(cls, options: Any) -> Any:
        """The options with the architecture, the preprocessing and the SHA-256 of the weights."""
        _library()
        if options.config is not None and options.weights == "none":
            return _of_configuration(cls, options)
        model = _Model(options.model)
        config = options.config or model.json("config.json")
        if config is None:
            raise UserError(f"encoder.model={options.model}: it holds no config.json")
        processor = of_processor(model.json("preprocessor_config.json") or {}, config)
        kept = {name: value for name, value in config.items() if name not in NOT_ARCHITECTURE}
        changes = {
            "model": model.name,
            "config": kept,
            "mean": options.mean or processor.pop("mean"),
            "spread": options.spread or processor.pop("spread"),
            "processor": options.processor or processor,
        }
        if options.weights == "pretrained":
            changes["weights"] = model.weights()
        else:
            changes["weights"] = identified(options.weights)
        settled = options.model_copy(update=changes)
        return cls.settled(settled, known=options.weights != "none")

    @classmethod
    def preferred(cls, options: Any) -> dict[str, Any]:
        """The preprocessing from preprocessor_config.json, or only the size."""
        return cls.wanted(options, {"size": 224, **(options.processor or {})})

    def __init__(self, options: Any, image: ImageChoices) -> None:
        super().__init__()
        self.channels = image.channels
        self.keep_norms(options)
        self.network = _network(options)
        self.scale_by(options.mean, options.spread)
        self.extra = _extra(self.network, image)
        own = self.preferred(options)["size"]
        self.measure(options, image, self._look, own=own)

    def _look(self, empty: Tensor) -> None:
        """Find out with an empty image which hidden states are maps; the last of each scale is
        used.
        """
        output = self.network(empty, output_hidden_states=True, **self.extra)
        self.kind = next((name for name in HIDDEN if _are_maps(getattr(output, name, None))), "")
        states = getattr(output, self.kind) if self.kind else ()
        sides = [state.shape[-1] for state in states] + [0]
        size = empty.shape[-1]
        self.ends = [k for k in range(len(states)) if sides[k + 1] < sides[k] < size]
        self.map_widths = tuple(states[k].shape[1] for k in self.ends)
        self.map_strides = tuple(round(size / sides[k]) for k in self.ends)
        self.feature_dim = self._vector(output).shape[1]

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """The last map of every scale, if the model has maps, then the vector."""
        x = self.scaled(image)
        if not self.ends:
            return [self._vector(self.network(x, **self.extra))]
        output = self.network(x, output_hidden_states=True, **self.extra)
        states = getattr(output, self.kind)
        return [*(states[k] for k in self.ends), self._vector(output)]

    def _vector(self, output: Any) -> Float[Tensor, "B F"]:
        pooled: Tensor | None = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        last: Tensor = output.last_hidden_state
        if last.ndim == 4:
            return last.mean((2, 3))
        has_class_token = any(name.endswith("cls_token") for name, _ in self.named_parameters())
        return last[:, 0] if has_class_token else last.mean(1)

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """One group for each numbered layer or stage.

        Parameters before the first one form a group, and parameters after the last one another.
        """
        groups: dict[str, list[nn.Parameter]] = {"before": []}
        after: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            numbered = re.match(r"(.*?)\.(\d+)\.", name)
            if numbered is not None and not name.startswith("embed"):
                groups.setdefault(numbered[0], []).append(parameter)
            elif len(groups) == 1:
                groups["before"].append(parameter)
            else:
                after.append(parameter)
        return [group for group in (*groups.values(), after) if group]


def _are_maps(states: Any) -> bool:
    """Whether these are maps (B, C, h, w), not tokens (B, N, F)."""
    return bool(states) and all(state.ndim == 4 for state in states)


def _of_configuration(made_by: Any, options: Any) -> Any:
    """The options of a model that was given by its architecture instead of its name."""
    processor = of_processor({}, options.config)
    changes = {
        "mean": options.mean or processor.pop("mean"),
        "spread": options.spread or processor.pop("spread"),
        "processor": options.processor or processor,
    }
    return made_by.settled(options.model_copy(update=changes), known=False)


class _Model:
    """A model's files, in a folder or on the hub."""

    def __init__(self, asked: str) -> None:
        self.asked = asked
        place = Path(asked).expanduser()
        self.folder = place if place.is_dir() else None
        if self.folder is None and (place.is_absolute() or asked.startswith((".", "~"))):
            raise UserError(f"encoder.model={asked}: there is no such folder")

    @property
    def name(self) -> str:
        """The model's name in a record, without the path of its folder."""
        return self.asked if self.folder is None else self.folder.resolve().name

    def text(self, name: str) -> str | None:
        """The contents of one of its text files; None if there is no such file."""
        if self.folder is None:
            return hub_text(self.asked, name)
        file = self.folder / name
        return file.read_text() if file.is_file() else None

    def json(self, name: str) -> dict[str, Any] | None:
        """The contents of one of its JSON files; None if there is no such file."""
        if self.folder is None:
            return hub_json(self.asked, name)
        text = self.text(name)
        try:
            return None if text is None else dict(json.loads(text))
        except ValueError:
            raise UserError(f"encoder.model={self.asked}: {name} is not valid JSON") from None

    def weights(self) -> str:
        """The identity of its own weights."""
        origin = {
            "origin": self.name,
            "licence": licence_in(self.text("README.md") or ""),
            "library": library_version("transformers"),
        }
        if self.folder is None:
            return hub_weights(self.asked, origin)
        identity = identified(str(self.folder))
        remember_origin(identity, origin)
        return identity


def _library() -> Any:
    try:
        import transformers
    except Exception as error:
        raise missing_library("hf", "transformers", error) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _network(options: Any) -> Any:
    transformers = _library()
    values = dict(options.config or {})
    kind = str(values.pop("model_type", ""))
    try:
        config = transformers.AutoConfig.for_model(kind, **values)
        config = getattr(config, "vision_config", config)
        made_by = transformers.MODEL_MAPPING[type(config)]
    except (KeyError, ValueError, TypeError):
        raise UserError(
            f"encoder.model={options.model}: transformers {transformers.__version__} has no model "
            f"of model_type={kind!r}; code that comes with a model is not executed"
        ) from None
    extra = _without_pooler(made_by, config)
    on_meta = torch.zeros(1).is_meta
    if options.weights in ("none", "pretrained") or on_meta:
        return made_by(config, **extra)
    weights = read_weights(options.weights)
    if options.match == "order":
        network = made_by(config, **extra)
        load_into(network, weights, left_over=(), order=True)
        return network
    return _loaded(made_by, config, weights, extra)


def _without_pooler(made_by: Any, config: Any) -> dict[str, bool]:
    """The argument that leaves out a pooling layer if the model has one.

    Classifiers do not use this layer and their weights lack it, so it would stay random.
    """
    with torch.device("meta"):
        names = [name for name, _ in made_by(config).named_parameters()]
    has_one = any("pooler.dense" in name for name in names)
    return {"add_pooling_layer": False} if has_one else {}


def _loaded(made_by: Any, config: Any, weights: Mapping[str, Tensor], extra: Any) -> Any:
    """The network with these weights; the library also understands its older weight names."""
    network, told = made_by.from_pretrained(
        None,
        config=config,
        state_dict=dict(weights),
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        dtype=torch.float32,
        **extra,
    )
    own = {name for name, _ in network.named_children()}
    prefix = f"{network.base_model_prefix}."
    unexpected = [name.removeprefix(prefix) for name in sorted(told["unexpected_keys"])]
    complain_unless_fitting(
        missing=[n for n in sorted(told["missing_keys"]) if not n.endswith("num_batches_tracked")],
        extra=[name for name in unexpected if name.partition(".")[0] in own],
        shapes=[
            f"{name} is {tuple(given)}, wanted {tuple(wanted)}"
            for name, given, wanted in sorted(told["mismatched_keys"])
        ],
    )
    return network


def _extra(network: Any, image: ImageChoices) -> dict[str, bool]:
    """The argument for images whose size is not the network's own, if it can take them."""
    import inspect

    own = getattr(network.config, "image_size", None)
    can = "interpolate_pos_encoding" in inspect.signature(network.forward).parameters
    own_sides = tuple(own) if isinstance(own, list | tuple) else (own, own)
    other = own is not None and own_sides != (image.size, image.size)
    return {"interpolate_pos_encoding": True} if can and other else {}

"""Loads a model from a folder of `birds export`, ready to classify images.

It needs torch and this package, but no run and no Hydra. Weights are read from safetensors files,
so no code in the folder is run.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from birds.core.errors import UserError
from birds.core.spec import ImageChoices, Part
from birds.encoders import Encoder, blank_encoders, create_encoder
from birds.methods.classify.heads import create_head
from birds.methods.classify.heads._cosines import Cosines
from birds.use.calibration import softmax
from birds.use.predict import read_images
from birds.use.tensors import load_tensors

CONFIG = "config.json"
ENCODER = "encoder.safetensors"
CLASSIFIER = "classifier.safetensors"  # the encoder and the head
FITTED = {"layer": nn.Linear, "cosines": Cosines}  # networks of heads that were fitted


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """An exported classifier: its classes and the preprocessing of its images."""

    encoder: Encoder
    head: nn.Module
    classes: list[str]
    image: ImageChoices
    temperature: float

    @torch.no_grad()
    def features(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        """The pooled features (N, F) of image files. Raises UserError for a file that is not an
        image.
        """
        pixels = torch.from_numpy(read_images(paths, self.image)).permute(0, 3, 1, 2)
        found: NDArray[np.float32] = self.encoder.features(pixels.float() / 255).numpy()
        return found

    @torch.no_grad()
    def probabilities(self, paths: Sequence[Path]) -> NDArray[np.float64]:
        """The calibrated probabilities (N, S) of image files."""
        logits = self.head(torch.from_numpy(self.features(paths))).numpy()
        return softmax(logits, self.temperature)


def load_model(folder: Path) -> LoadedModel:
    """The model in a folder. Raises UserError when a file is missing or does not fit."""
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
        image = ImageChoices.model_validate(config["image"])
        part = Part.model_validate(config["encoder"])
        classes = list(config["classes"])
        with blank_encoders():
            encoder = create_encoder(part, image)
        head = _head(config["head"], encoder.feature_dim, len(classes))
        tensors = load_tensors(folder / CLASSIFIER)
        both = nn.ModuleDict({"encoder": encoder, "head": head})
        both.load_state_dict(tensors)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{folder} is not a complete export of `birds export` ({type(error).__name__}); export "
            "the model again"
        ) from None
    both.requires_grad_(False).eval()
    return LoadedModel(encoder, head, classes, image, float(config["temperature"]))


def _head(described: dict[str, Any], features: int, classes: int) -> nn.Module:
    part = Part.model_validate(described)
    if part.name in FITTED:
        fitted: nn.Module = FITTED[part.name](features, classes)
        return fitted
    head: nn.Module = create_head(part, features, classes)
    return head

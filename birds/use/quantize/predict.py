"""Classes of images by an exported model, without torch and within a second.

An ONNX file contains its classes and its preprocessing, so it works alone wherever it is copied. An
OpenVINO model has them in the JSON next to it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from birds.core.spec import ImageChoices, UserError
from birds.use.predict import Prediction, ranked, read_images
from birds.use.quantize.models import (
    NOT_OURS,
    Classifier,
    by_onnxruntime,
    onnx_session,
    open_model,
    read_model,
)


def predict_with_model(model: Path, paths: Sequence[Path]) -> list[Prediction]:
    """The most probable classes of each image by a model file of `birds quantize`.

    Raises UserError for a file that is no such model or no image, or when its runtime is not
    installed.
    """
    if not model.is_file():
        raise UserError(
            f"there is no model file {model}; `birds quantize` writes them to runs/<key>/models/"
        )
    opened = _openvino_model if model.suffix == ".xml" else _onnx_model
    classify, image, classes = opened(model)
    return ranked(paths, classify(read_images(paths, image)), classes)


def _openvino_model(file: Path) -> tuple[Classifier, ImageChoices, Sequence[str]]:
    model = read_model(file.with_suffix(".json"))
    if model is None:
        raise UserError(f"{file} {NOT_OURS} (an OpenVINO model needs its .bin and .json beside it)")
    return open_model(model, 0), model.image, model.classes


def _onnx_model(file: Path) -> tuple[Classifier, ImageChoices, Sequence[str]]:
    session = onnx_session(file, 0)
    try:
        known = json.loads(session.get_modelmeta().custom_metadata_map["birds"])
        image, classes = ImageChoices.model_validate(known["image"]), list(known["classes"])
    except (KeyError, ValueError, TypeError):
        raise UserError(f"{file} {NOT_OURS}") from None
    return by_onnxruntime(session), image, classes

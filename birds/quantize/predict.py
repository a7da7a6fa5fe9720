"""Species of photos by an exported model, without torch and within a second.

An ONNX file knows its species and size itself, so the file alone suffices, wherever it is copied; an OpenVINO model
keeps them in the JSON beside it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from birds.predict import Prediction, ranked, read_square_photos
from birds.quantize.models import INPUT, NOT_OURS, OUTPUT, Classifier, onnx_session, open_openvino, read_model
from birds.spec import Refused


def predict_with_model(model: Path, paths: Sequence[Path], top: int = 5) -> list[Prediction]:
    """The likeliest species of each photo by the model file of `birds quantize`.

    Raises Refused on a file that is no such model or no photo, or when its runtime is not installed.
    """
    if not model.is_file():
        raise Refused(f"there is no model file {model}; `birds quantize` writes them to runs/<key>/models/")
    classify, species, size = _open_xml(model) if model.suffix == ".xml" else _open_onnx(model)
    return ranked(paths, classify(read_square_photos(paths, size)), species, top)


def _open_onnx(path: Path) -> tuple[Classifier, Sequence[str], int]:
    session = onnx_session(path, 0)
    try:
        about = json.loads(session.get_modelmeta().custom_metadata_map["birds"])
    except (KeyError, ValueError):
        raise Refused(f"{path} {NOT_OURS}") from None
    return lambda photos: session.run([OUTPUT], {INPUT: photos})[0], about["species"], about["size"]


def _open_xml(path: Path) -> tuple[Classifier, Sequence[str], int]:
    about = read_model(path.with_suffix(".json"))
    if about is None:
        raise Refused(f"{path} {NOT_OURS} (an OpenVINO model needs its .bin and .json beside it)")
    return open_openvino(path, 0, about.precision, about.size), about.species, about.size

"""Species of photos by an exported model, without torch and within a second.

An ONNX file knows its species and size itself, so the file alone suffices, wherever it is copied;
an OpenVINO model keeps them in the JSON beside it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from birds.core.spec import UserError
from birds.use.predict import Prediction, ranked, read_square_photos
from birds.use.quantize.models import NOT_OURS, by_onnxruntime, onnx_session, open_model, read_model


def predict_with_model(model: Path, paths: Sequence[Path]) -> list[Prediction]:
    """The likeliest species of each photo by the model file of `birds quantize`.

    Raises UserError on a file that is no such model or no photo, or when its runtime is not
    installed.
    """
    if not model.is_file():
        raise UserError(
            f"there is no model file {model}; `birds quantize` writes them to runs/<key>/models/"
        )
    if model.suffix == ".xml":
        about = read_model(model.with_suffix(".json"))
        if about is None:
            raise UserError(
                f"{model} {NOT_OURS} (an OpenVINO model needs its .bin and .json beside it)"
            )
        return ranked(
            paths, open_model(about, 0)(read_square_photos(paths, about.size)), about.species
        )
    session = onnx_session(model, 0)
    try:
        known = json.loads(session.get_modelmeta().custom_metadata_map["birds"])
    except (KeyError, ValueError):
        raise UserError(f"{model} {NOT_OURS}") from None
    return ranked(
        paths, by_onnxruntime(session)(read_square_photos(paths, known["size"])), known["species"]
    )

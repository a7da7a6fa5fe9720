"""Exports a finished classifier into a folder that works without its run: ONNX, safetensors,
labels.

Before the files are put in place, they are compared with the run on images of noise.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from birds import __version__
from birds.core.parts import options_of
from birds.core.spec import RunSpec, UserError
from birds.core.store import RunFolder, write_atomically, write_text
from birds.use.calibration import Calibration, softmax
from birds.use.load import CLASSIFIER, CONFIG, ENCODER, FITTED, load_model
from birds.use.networks import load_network
from birds.use.tensors import save_tensors

ONNX = "model.onnx"
LABELS = "labels.txt"
EXAMPLE = "example.py"
TOLERANCE = 1e-3  # largest allowed difference of a probability
EXAMPLE_TEXT = '''"""Classes of photos by this model: python example.py PHOTO ...

It needs torch and the package birds-sweeps; no run and no training data.
"""

import sys
from pathlib import Path

from birds.use.load import load_model

model = load_model(Path(__file__).resolve().parent)
photos = [Path(name) for name in sys.argv[1:]]
for photo, chances in zip(photos, model.probabilities(photos), strict=True):
    print(photo)
    for k in chances.argsort()[::-1][:5]:
        print(f"  {chances[k]:6.1%}  {model.classes[k]}")
'''


def export_model(
    folder: RunFolder, target: Path, calibration: Calibration, *, onnx: bool = True
) -> list[Path]:
    """Write the classifier of a run into `target`; returns the written files.

    Raises UserError when the run cannot be exported, or the folder contains other files.
    """
    refuse_other_folder(target)
    network, spec, classes = load_network(folder)
    target.mkdir(parents=True, exist_ok=True)
    about = {"key": spec.key, "birds": __version__}
    save_tensors(target / ENCODER, network.encoder.state_dict(), about)
    save_tensors(target / CLASSIFIER, network.state_dict(), about)
    config = _config(spec, classes, calibration, network)
    write_text(target / CONFIG, json.dumps(config, indent=1))
    write_text(target / LABELS, "".join(f"{name}\n" for name in classes))
    write_text(target / EXAMPLE, EXAMPLE_TEXT)
    _refuse_difference(network, target, spec)
    written = [target / name for name in (ENCODER, CLASSIFIER, CONFIG, LABELS, EXAMPLE)]
    if onnx:
        written.append(_write_onnx(network, spec, classes, target))
    return written


def refuse_other_folder(target: Path) -> None:
    """Raise UserError when `target` is a file, or a folder with other files than an export."""
    if target.is_file():
        raise UserError(f"{target} is a file; name a folder")
    if target.is_dir() and any(target.iterdir()) and not (target / CONFIG).is_file():
        raise UserError(f"{target} contains other files; name an empty folder or a new one")


def _config(
    spec: RunSpec, classes: Sequence[str], calibration: Calibration, network: Any
) -> dict[str, Any]:
    head = options_of("classifier", spec.method).head.model_dump(mode="json")
    for name, made_by in FITTED.items():
        if type(network.head) is made_by:
            head = {"name": name}
    return {
        "birds": __version__,
        "key": spec.key,
        "encoder": spec.encoder.model_dump(mode="json"),
        "image": spec.image.model_dump(mode="json"),
        "head": head,
        "classes": list(classes),
        "temperature": calibration.temperature,
    }


def _write_onnx(network: Any, spec: RunSpec, classes: Sequence[str], target: Path) -> Path:
    from birds.use.quantize.export import exported
    from birds.use.quantize.models import by_onnxruntime, installed, onnx_session

    for package in ("onnx", "onnxscript", "onnxruntime"):
        installed(package)
    about = {name: getattr(spec, name) for name in ("key", "variant", "split", "seed")}
    about |= {"image": spec.image.model_dump(), "classes": list(classes)}
    data = exported(network, spec.image, about)
    file = target / ONNX
    write_atomically(file, lambda out: out.write(data))
    images = _noise(spec)
    found = by_onnxruntime(onnx_session(file, 0))(images)
    _compare(found, _logits(network, images), file)
    return file


def _refuse_difference(network: Any, target: Path, spec: RunSpec) -> None:
    loaded = load_model(target)
    images = _noise(spec)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        found = loaded.head(loaded.encoder.features(pixels)).numpy()
    _compare(found, _logits(network, images), target)


def _noise(spec: RunSpec) -> Any:
    random = np.random.default_rng(0)
    side = spec.image.size
    return random.integers(0, 256, (4, side, side, spec.image.channels), dtype=np.uint8)


@torch.no_grad()
def _logits(network: Any, images: Any) -> Any:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return network(pixels).numpy()


def _compare(found: Any, wanted: Any, file: Path) -> None:
    apart = float(np.abs(softmax(found) - softmax(wanted)).max())
    if not apart <= TOLERANCE:
        raise RuntimeError(
            f"{file} does not reproduce the run: probabilities differ by {apart:.2g}"
        )

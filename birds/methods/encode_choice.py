"""Chooses how a frozen encoder is run on a CPU: `encode=auto` takes the faster of PyTorch and ONNX
Runtime, by measurement.

ONNX Runtime has to export the encoder first, which takes seconds. So it is only tried where PyTorch
would need longer than WORTH seconds for all images of the data set. The choice is kept in the cache
folder: all runs on the same data, encoder and machine encode in the same way.
"""

from __future__ import annotations

import hashlib
import json
import time

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from birds.core.errors import UserError
from birds.core.locks import locked
from birds.core.store import write_text
from birds.data.augmentation import to_float
from birds.encoders import Encoder
from birds.encoders._own_size import OwnSizeEncoder
from birds.methods import Job
from birds.methods.encoding import Encode, kept_in_onnx

WORTH = 30.0  # seconds of encoding from which an export is tried
PAYS = 1.1  # smallest speed-up over PyTorch for which ONNX Runtime is chosen
IMAGES, ROUNDS = 16, 3


def way_of(encoder: Encoder, job: Job) -> str:
    """How this run encodes images: eager or onnx."""
    asked = job.runtime.encode
    if asked != "auto":
        return asked
    has_network = not isinstance(encoder, OwnSizeEncoder) and not encoder.by_id
    if job.machine.device.type != "cpu" or not has_network:
        return "eager"
    machine, spec = job.machine, job.spec
    about = [machine.record()["device_name"], machine.precision, str(machine.threads)]
    about += [torch.__version__, spec.encoder.model_dump_json(), spec.image.model_dump_json()]
    about += [spec.data.digest, spec.pool.digest]
    name = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]
    file = job.runtime.cache_dir / f"encode-{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_suffix(".lock")):
        if not file.exists():
            write_text(file, json.dumps({"about": about, **measured_ways(encoder, job)}))
    return str(json.loads(file.read_text())["way"])


@torch.no_grad()
def measured_ways(encoder: Encoder, job: Job) -> dict[str, str | float]:
    """The faster way for all images of the run, and images per second of each way that was tried.

    Where ONNX Runtime is missing, cannot run the encoder, or changes its features, it is PyTorch.
    """
    rows = np.arange(min(IMAGES, len(job.data.images.label)))
    pixels = torch.from_numpy(job.data.decoded(rows)).permute(0, 3, 1, 2)
    image = to_float(pixels)
    encoder.eval()
    with job.machine.autocast():
        rates = {"eager": rate(encoder.features, image)}
        if len(job.data.label) / rates["eager"] < WORTH:
            return {"way": "eager", **rates}
        try:
            found = kept_in_onnx(encoder, image, job)
        except UserError as refusal:
            return {"way": "eager", **rates, "refused": str(refusal)}
        rates["onnx"] = rate(found.encode, image)
    return {"way": faster_way(rates["eager"], rates["onnx"]), **rates}


def faster_way(eager: float, onnx: float) -> str:
    """The way to encode for so many images per second by PyTorch and by ONNX Runtime."""
    return "onnx" if onnx >= PAYS * eager else "eager"


def rate(encode: Encode, image: Float[Tensor, "B C H W"]) -> float:
    """Images per second, the median over rounds after one that is not timed."""
    took = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        encode(image)
        took.append(time.perf_counter() - started)
    return len(image) / float(np.median(took[1:]))

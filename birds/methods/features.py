"""Features of a frozen encoder: computed once, kept on disk, shared by seeds, splits and heads.

The file's name is a hash of the encoder's weights, the images and their preprocessing, so
everything that would change a feature changes the name. If several processes need the same
features, one of them computes them.
"""

import hashlib
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.core.locks import locked
from birds.core.store import write_atomically
from birds.data.augmentation import to_float
from birds.encoders import Encoder
from birds.encoders._own_size import OwnSizeEncoder
from birds.methods import Job
from birds.methods.corruption import noise_draws, seasoned
from birds.methods.descriptions import Descriptions, described
from birds.methods.encode_choice import way_of
from birds.methods.encoding import encoding

VERSION = 1
BATCH = 64


def features_of(
    encoder: Encoder, job: Job, part: str, *, noise: float = 0.0
) -> NDArray[np.float32]:
    """The pooled features (N, F) of the images of a part, in the order of `job.data.rows[part]`.

    All training images of a data set are encoded together, so that every cut of them shares one
    file; the same holds for a wider pool. With `noise`, that fraction of pixels is replaced; the
    random draw depends on the data set's seed.
    """
    data = job.data
    training = part in ("labelled", "unlabelled", "train")
    asked = data.rows[part]
    own = len(data.images.label)
    rows = data.images.rows("train") if training else asked
    features = _shared(encoder, job, rows, noise)
    inside = asked[asked < own]
    found = features[np.searchsorted(rows, inside)]
    from_pool = asked[asked >= own]
    if len(from_pool):
        every = _shared(encoder, job, np.arange(own, own + len(data.pool)), noise)
        found = np.concatenate([found, every[from_pool - own]])
    return found


def images_described(
    encoder: OwnSizeEncoder, job: Job, rows: NDArray[np.int64]
) -> list[Descriptions]:
    """The descriptions of training images: those of the data set, and those of a wider pool if any.

    All training images are described together, so that every cut of them shares one file.
    """
    own = len(job.data.images.label)
    every = job.data.images.rows("train")
    found = [described(encoder, job, every).of(np.searchsorted(every, rows[rows < own]))]
    if (rows >= own).any():
        found.append(described(encoder, job, rows[rows >= own]))
    return found


def _shared(
    encoder: Encoder, job: Job, rows: NDArray[np.int64], noise: float
) -> NDArray[np.float32]:
    way = way_of(encoder, job)
    file = job.runtime.cache_dir / f"features-{_name(encoder, job, rows, noise, way)}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file.with_suffix(".lock")):
            if not file.exists():
                features = _encoded(encoder, job, rows, noise, way)
                write_atomically(file, partial(np.save, arr=features, allow_pickle=False))
    found: NDArray[np.float32] = np.load(file, allow_pickle=False)
    return found


def _name(encoder: Encoder, job: Job, rows: NDArray[np.int64], noise: float, way: str) -> str:
    digest = hashlib.sha256()
    about = [str(VERSION), job.spec.encoder.model_dump_json(), job.spec.image.model_dump_json()]
    about += [job.machine.precision, job.machine.device.type, str(noise), str(job.spec.data.seed)]
    if way != "eager":
        about.append(way)
    digest.update("\n".join(about).encode())
    for name, value in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().float().numpy()).tobytes())
    own = rows[rows < len(job.data.images.content)]
    for row in own:
        digest.update(job.data.images.content[row].encode())
    if len(own) < len(rows):
        digest.update(job.spec.pool.digest.encode())
    if noise:
        digest.update(rows.tobytes())
    return digest.hexdigest()[:20]


@torch.no_grad()
def _encoded(
    encoder: Encoder, job: Job, rows: NDArray[np.int64], noise: float, way: str
) -> NDArray[np.float32]:
    if isinstance(encoder, OwnSizeEncoder):
        return encoder.encode(described(encoder, job, rows, noise))
    if encoder.by_id:
        return _looked_up(encoder, job, rows)
    device = job.machine.device
    encoder.to(device).eval()
    features = []
    with job.machine.autocast():
        for start in range(0, len(rows), BATCH):
            chunk = rows[start : start + BATCH]
            pixels = torch.from_numpy(job.data.decoded(chunk)).to(device)
            image = to_float(pixels.permute(0, 3, 1, 2))
            if noise:
                sides = (image.shape[2], image.shape[3])
                draw = noise_draws(job.spec.data.seed, chunk.tolist(), sides)
                image = seasoned(image, noise, draw.to(device))
            encode = encoding(encoder, job, way, image)
            features.append(encode(image).float().cpu())
    encoded: NDArray[np.float32] = torch.cat(features).numpy()
    return encoded


def _looked_up(encoder: Encoder, job: Job, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The features of the rows in a feature file. Raises UserError for rows of a wider pool."""
    ids = job.data.images.ids
    if (rows >= len(ids)).any():
        raise UserError(
            f"encoder={job.spec.encoder.name} has no features for extra unlabelled images; choose "
            "pool=split"
        )
    return encoder.looked_up([ids[row] for row in rows])

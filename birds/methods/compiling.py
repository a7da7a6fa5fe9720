"""Uses torch.compile for an encoder's training if it is faster: compiled and eager steps are timed
in turn on the device.

By default it is tried only on GPUs. On CPUs, fp32 was 1 to 7 % faster and bf16 a quarter slower,
and compiling took half a minute (DECISIONS 51). The result is kept in the cache folder, so it is
measured once for each device, precision, version of torch, encoder and batch. Weights, their names
and checkpoints do not change.
"""

import copy
import hashlib
import json
import time

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from birds.core.locks import locked
from birds.core.store import write_text
from birds.methods import Job

UNTIMED, ROUNDS = 3, 9
PAYS = 1.05  # smallest speed-up over eager that is worth the compiling time


def compile_where_it_pays(encoder: nn.Module, job: Job) -> bool:
    """Compile the encoder in place if `runtime.compile` is true, or is auto and a GPU gets faster
    by it.

    Returns whether it did. Call it in the precision of the training.
    """
    wanted = job.runtime.compile
    if wanted == "auto":
        wanted = job.machine.device.type != "cpu" and known_speedup(encoder, job) >= PAYS
    if wanted:
        encoder.compile()  # type: ignore[no-untyped-call]
    return bool(wanted)


def known_speedup(encoder: nn.Module, job: Job) -> float:
    """The `speedup` for a batch of this run's shape: from the cache folder, or measured now and
    saved.
    """
    image, machine = job.spec.image, job.machine
    shape = (job.data.batch_size, image.channels, image.size, image.size)
    about = [machine.record()["device_name"], machine.precision, torch.__version__]
    about += [job.spec.encoder.model_dump_json(), str(shape)]
    name = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]
    file = job.runtime.cache_dir / f"compiled-{name}.json"
    with locked(file.with_suffix(".lock")):  # simultaneous runs would slow each other down
        if not file.exists():
            found = speedup(encoder, torch.zeros(shape, device=machine.device))
            write_text(file, json.dumps({"about": about, "speedup": found}))
    return float(json.loads(file.read_text())["speedup"])


def speedup(encoder: nn.Module, image: Float[Tensor, "B C H W"]) -> float:
    """How many times as fast as eager a compiled forward and backward step is.

    It is the median over rounds, or 0 if compiling fails.
    """
    ways = [copy.deepcopy(encoder).to(image.device) for _ in range(2)]
    ways[1].compile()  # type: ignore[no-untyped-call]
    try:
        rounds = []
        for _ in range(UNTIMED + ROUNDS):
            rounds.append([_seconds(own, image) for own in ways])
    except Exception:  # no compiler, or it fails: eager works
        return 0.0
    took = np.array(rounds[UNTIMED:])
    return float(np.median(took[:, 0] / took[:, 1]))


def _seconds(encoder: nn.Module, image: Tensor) -> float:
    started = time.perf_counter()
    total = torch.stack([level.float().mean() for level in encoder(image)]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    if image.is_cuda:
        torch.cuda.synchronize(image.device)
    return time.perf_counter() - started

"""Encoding by a frozen backbone on one thread.

The way that `encode=auto` chooses is compared with PyTorch in fp32 and with the fastest way.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench.paired import Row, in_turn, ratio_row
from bench.training import planned
from birds.core.machine import resolve
from birds.encoders import seeded_encoder
from birds.methods.encode_choice import faster_way
from birds.methods.encoding import through_onnx

BATCH = 32
BACKBONE = ("encoder=timm", "encoder.model=mobilenetv2_100", "image.size=224")
WITHOUT_TIMM = ("encoder=unet_m", "image.size=224")


def measure(rounds: int, *words: str) -> list[Row]:
    """Ratios of images per second; by default of MobileNetV2 or, without timm, of a U-Net's
    encoder, with random weights.
    """
    has_timm = importlib.util.find_spec("timm") is not None
    words = words or (BACKBONE if has_timm else WITHOUT_TIMM)
    asked = planned("variant=B0", "head=svm", "threads=1", *words)
    machine = resolve(asked.runtime)
    if machine.device.type != "cpu":
        return []  # the choice is made only on a CPU
    encoder = seeded_encoder(asked.spec).eval()
    size, channels = asked.spec.image.size, asked.spec.image.channels
    image = torch.rand(BATCH, size, size, channels).permute(0, 3, 1, 2)
    found = through_onnx(encoder, image, 1)

    def eager() -> Tensor:
        with machine.autocast():
            return encoder.features(image)

    ways: dict[str, Callable[[], Tensor]] = {
        "fp32": lambda: encoder.features(image),
        "eager": eager,
        "onnx": lambda: found.encode(image),
    }
    with torch.inference_mode():
        took = in_turn({name: partial(_seconds, way) for name, way in ways.items()}, rounds)
    seconds = {name: float(np.median(each)) for name, each in took.items()}
    chosen = faster_way(1 / seconds["eager"], 1 / seconds["onnx"])
    fastest = min(seconds, key=seconds.__getitem__)
    rates = ", ".join(f"{name} {BATCH / each:.0f}" for name, each in seconds.items())
    name = words[-2].split("=")[-1]
    shown = f"{chosen} is chosen; {name}, {size} px, one thread, images/s: {rates}"
    own, what = took[chosen], "encoding: the chosen way / "
    return [
        ratio_row(f"{what}PyTorch in fp32, images/s", took["fp32"], own, 3, shown=shown),
        ratio_row(f"{what}the fastest way, images/s", took[fastest], own, 0.9, shown=shown),
    ]


def _seconds(way: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started

"""A training step whose layers are large: with freed memory kept, as runs do, against the defaults
of the C library.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from bench.paired import Row, in_turn, ratio_row
from birds.core.machine import M_MMAP_MAX, M_TRIM_THRESHOLD, keep_freed_memory

GLIBC = {M_MMAP_MAX: 65_536, M_TRIM_THRESHOLD: 128 * 1024}  # the defaults of malloc.h
STEPS = 2


def measure(rounds: int, images: int = 48, size: int = 160) -> list[Row]:
    """The ratio of speeds on one thread in fp32; nothing where the C library is not glibc."""
    if not keep_freed_memory():
        return []
    torch.set_num_threads(1)
    network = _depthwise()
    image = torch.rand(images, 3, size, size).contiguous(memory_format=torch.channels_last)
    ways = {"kept": keep_freed_memory, "default": _as_by_default}
    took = in_turn(
        {name: partial(_steps, way, network, image) for name, way in ways.items()}, rounds
    )
    keep_freed_memory()
    largest = 32 * images * (size // 2) ** 2 * 4 / 2**20
    shown = f"fp32, {images} images of {size} px, layers of {largest:.0f} MiB, one thread"
    name = "a step of large layers: freed memory kept / given back, images/s"
    return [ratio_row(name, took["default"], took["kept"], 1.0, shown)]


def _depthwise() -> nn.Module:
    """A stem and two blocks, like the start of a MobileNet: little arithmetic, much memory."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False)]
    for _ in range(2):
        layers += [nn.BatchNorm2d(32), nn.ReLU6()]
        layers += [nn.Conv2d(32, 32, 3, 1, 1, groups=32, bias=False)]
        layers += [nn.BatchNorm2d(32), nn.ReLU6(), nn.Conv2d(32, 32, 1, bias=False)]
    return nn.Sequential(*layers)


def _as_by_default() -> None:
    for option, value in GLIBC.items():
        ctypes.CDLL(None).mallopt(option, value)
    ctypes.CDLL(None).malloc_trim(0)


def _steps(way: Callable[[], object], network: nn.Module, image: torch.Tensor) -> float:
    way()
    started = time.perf_counter()
    for _ in range(STEPS):
        loss = network(image).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - started

"""The cost of a model and a run: parameters, floating-point operations, memory."""

import resource
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """All parameters, and those that training changes."""
    every = list(model.parameters())
    return {
        "cost_parameters": sum(p.numel() for p in every),
        "cost_parameters_trained": sum(p.numel() for p in every if p.requires_grad),
    }


def forward_flops(
    forward: Callable[[Tensor], object], shape: tuple[int, int, int], device: torch.device
) -> int:
    """Floating-point operations (a multiply and an add are two) of `forward` on one image.

    `shape` is the image's: channels, height, width.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        forward(torch.zeros(1, *shape, device=device))
    return int(counter.get_total_flops())


def peak_memory_mb(device: torch.device) -> dict[str, float]:
    """Peak resident memory of this process, and of the GPU where there is one, in MiB since the
    process started.
    """
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peaks = {"cost_peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}
    if device.type == "cuda":
        peaks["cost_peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    return peaks

"""The cost of a model and a run: parameters, floating-point operations, memory."""

import resource
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """The numbers of all parameters and of those that training changes."""
    every = list(model.parameters())
    return {
        "cost_parameters": sum(p.numel() for p in every),
        "cost_parameters_trained": sum(p.numel() for p in every if p.requires_grad),
    }


def forward_flops(
    forward: Callable[[Tensor], object], shape: tuple[int, int, int], device: torch.device
) -> int:
    """The floating-point operations of `forward` on one image; a multiply and an add count as two.

    `shape` is the image's shape: channels, height, width.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        forward(torch.zeros(1, *shape, device=device))
    return int(counter.get_total_flops())


def peak_memory_mb(device: torch.device) -> dict[str, float]:
    """The peak memory since the process started, in MiB: of the process, and of the GPU if there is
    one.
    """
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peaks = {"cost_peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}
    if device.type == "cuda":
        peaks["cost_peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    return peaks

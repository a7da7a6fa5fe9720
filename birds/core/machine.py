"""The device, precision and threads of a run on this machine. They are recorded but never part of a
key.

torch is imported only when a device is resolved, because the launcher needs just the cores.
"""

import contextlib
import ctypes
import dataclasses
import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birds.core.spec import Runtime, UserError

if TYPE_CHECKING:
    import torch

INT8_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "amx_int8")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # the names of glibc's malloc.h
LIGHTNING_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclasses.dataclass(frozen=True)
class Machine:
    """A resolved runtime, without any `auto`."""

    device: "torch.device"
    precision: str
    threads: int

    def record(self) -> dict[str, Any]:
        """The columns of the record that describe the machine of a run."""
        import torch

        gpu = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else None
        return {
            "device": str(self.device),
            "device_name": gpu or cpu_name(),
            "host": platform.node(),
            "precision": self.precision,
            "threads": self.threads,
        }

    def autocast(self) -> Any:
        """A context in which torch computes in the precision of training."""
        import torch

        if self.precision == "32":
            return contextlib.nullcontext()
        kind = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=kind)

    def trainer_options(self) -> dict[str, Any]:
        """The options of Lightning's Trainer for this device and precision."""
        devices = [self.device.index or 0] if self.device.type == "cuda" else 1
        return {
            "accelerator": {"cuda": "gpu"}.get(self.device.type, self.device.type),
            "devices": devices,
            "precision": LIGHTNING_PRECISION[self.precision],
        }


def resolve(runtime: Runtime) -> Machine:
    """Resolve the machine of a run and set the number of threads of this process.

    On a CPU the default is one thread: two processes are faster than one with two threads, and
    one thread adds numbers in a fixed order. Raises UserError for a device that is missing.
    """
    import torch

    wanted = "cuda" if runtime.device == "auto" and torch.cuda.is_available() else runtime.device
    device = torch.device("cpu" if wanted == "auto" else wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"device={runtime.device}: PyTorch sees no GPU here; choose device=cpu or device=auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(
            f"device={runtime.device}: PyTorch sees no Apple GPU here; choose device=cpu or "
            "device=auto"
        )
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    threads = (
        (1 if device.type == "cpu" else torch.get_num_threads())
        if runtime.threads == "auto"
        else runtime.threads
    )
    torch.set_num_threads(threads)
    if device.type == "cpu":
        keep_freed_memory()
    precision = fastest_precision(device) if runtime.precision == "auto" else runtime.precision
    return Machine(device, precision, threads)


def keep_freed_memory() -> bool:
    """Have this process use freed memory again, not give it back; whether that could be set.

    glibc gives a block of more than 32 MiB back to the system as soon as it is freed. The next step
    asks for it again, and the system fills it with zeros, page by page. For the large layers of a
    backbone that takes a third of a training step. It does nothing where the C library is another.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if set_option is None:
        return False
    most = 2**31 - 1
    return bool(set_option(M_MMAP_MAX, 0) and set_option(M_TRIM_THRESHOLD, most))


def fastest_precision(device: "torch.device") -> str:
    """bf16 if the device is faster with it, else 32.

    On Intel's CPUs that is with AMX only: their AVX-512 instructions for bf16 are slower than
    those for fp32 in convolutions. On AMD's they are faster.
    """
    if device.type == "cuda":
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    by_vector = "avx512_bf16" in cpu_flags() and _cpuinfo("vendor_id") != "GenuineIntel"
    return "bf16" if by_vector or "amx_bf16" in cpu_flags() else "32"


@lru_cache
def cpu_flags() -> frozenset[str]:
    """The instruction sets of this CPU by their Linux names; empty on other systems."""
    return frozenset(_cpuinfo("flags").split())


def int8_instructions() -> list[str]:
    """The instruction sets of this CPU for 8-bit integers; empty if there are none or unknown."""
    return [name for name in INT8_INSTRUCTIONS if name in cpu_flags()]


def cpu_name() -> str:
    """The CPU's model name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == field), ""
    )


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""The machine of a race and the state it is in: what a reader needs to judge the numbers and never to mix them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import time
from pathlib import Path

import torch

from birds.machine import INT8_INSTRUCTIONS, cores, cpu_flags, cpu_name
from birds.record import package_versions

VECTORS = (
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
)
PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "nncf", "numpy")


@dataclasses.dataclass(frozen=True)
class Host:
    """A machine. Races on two machines, or on one with other cores to use, have another `machine`: a fingerprint."""

    host: str
    cpu: str
    instruction_sets: tuple[str, ...]
    cores: int
    memory_gb: int
    gpu: str | None
    governor: str
    system: str

    @property
    def machine(self) -> str:
        """Eight hex digits over all that does not change by itself (the governor may)."""
        fixed = dataclasses.replace(self, governor="")
        return hashlib.sha256(repr(dataclasses.astuple(fixed)).encode()).hexdigest()[:8]

    @property
    def int8(self) -> bool:
        """Whether this CPU has instructions for products of int8."""
        return bool(set(INT8_INSTRUCTIONS) & set(self.instruction_sets))


def this_host() -> Host:
    """The machine of this process."""
    flags = cpu_flags()
    return Host(
        host=platform.node(),
        cpu=cpu_name(),
        instruction_sets=tuple(name for name in VECTORS if name in flags),
        cores=cores(),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        governor=governor(),
        system=f"{platform.system()} {platform.release()}",
    )


def governor() -> str:
    """Linux's rule for the clock, such as `performance`; several are joined by +; `unknown` where it is not told."""
    files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    try:
        return "+".join(sorted({file.read_text().strip() for file in files})) or "unknown"
    except OSError:
        return "unknown"


def load_average() -> float | None:
    """Processes that ran or wanted to, mean of the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def seconds_of_others() -> float | None:
    """Seconds of this machine's cores that went to other processes, or to other guests of its hardware, until now.

    Only a difference of two values means something. None where the system does not say.
    """
    try:
        user, nice, system, _, _, irq, softirq, stolen = Path("/proc/stat").read_text().split()[1:9]
    except (OSError, ValueError):
        return None
    busy = sum(int(ticks) for ticks in (user, nice, system, irq, softirq, stolen)) / os.sysconf("SC_CLK_TCK")
    return busy - time.process_time()


def versions() -> dict[str, str]:
    """Versions of Python and of what computes."""
    return {"python": platform.python_version()} | package_versions(PACKAGES)

"""Describes the machine of a race and its state, so that results of different machines are not
mixed.
"""

import hashlib
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from birds.core.machine import INT8_INSTRUCTIONS, cores, cpu_flags, cpu_name
from birds.core.record import package_versions

VECTORS = (
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512_bf16",
    "amx_bf16",
    *INT8_INSTRUCTIONS,
)
PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "nncf", "numpy")


def this_host() -> dict[str, Any]:
    """The columns of a row that say what this machine is, and the versions of what computes.

    Races on two machines, or on one with other cores to use, have another `machine`: a fingerprint,
    eight hex digits over all that does not change by itself (the governor of the clock may).
    """
    flags, pages = cpu_flags(), os.sysconf("SC_PHYS_PAGES")
    fixed = {
        "host": platform.node(),
        "cpu": cpu_name(),
        "instruction_sets": [name for name in VECTORS if name in flags],
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * pages / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.release()}",
    }
    versions = {"python": platform.python_version()} | package_versions(PACKAGES)
    machine = hashlib.sha256(repr(fixed).encode()).hexdigest()[:8]
    return fixed | {"machine": machine, "governor": governor(), "versions": versions}


def governor() -> str:
    """Linux's rule for the clock, such as `performance`; several are joined by +; `unknown` where
    it is not told.
    """
    files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    try:
        return "+".join(sorted({file.read_text().strip() for file in files})) or "unknown"
    except OSError:
        return "unknown"


def seconds_of_others() -> float | None:
    """Seconds of this machine's cores that went to other processes, or to other guests of its
    hardware, until now.

    Only a difference of two values means something. None where the system does not say.
    """
    try:
        user, nice, system, _, _, irq, softirq, stolen = Path("/proc/stat").read_text().split()[1:9]
    except (OSError, ValueError):
        return None
    busy = sum(int(ticks) for ticks in (user, nice, system, irq, softirq, stolen)) / os.sysconf(
        "SC_CLK_TCK"
    )
    return busy - time.process_time()

"""Describes the machine and its state, so that results of different machines are never mixed."""

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
    """The columns of a row that describe this machine and the versions of the software.

    `machine` is a fingerprint of eight hex digits. It differs between machines, and between sets of
    cores that the process may use. It does not include what changes by itself, such as the clock's
    governor.
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
    """Linux's governor of the clock, such as `performance`; several are joined by +.

    It is `unknown` if the system does not report it.
    """
    files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    try:
        return "+".join(sorted({file.read_text().strip() for file in files})) or "unknown"
    except OSError:
        return "unknown"


def seconds_of_others() -> float | None:
    """Seconds of this machine's cores used so far by other processes or by other virtual machines.

    Only the difference of two values has a meaning. None if the system does not report it.
    """
    try:
        user, nice, system, _, _, irq, softirq, stolen = Path("/proc/stat").read_text().split()[1:9]
    except (OSError, ValueError):
        return None
    busy = sum(int(ticks) for ticks in (user, nice, system, irq, softirq, stolen)) / os.sysconf(
        "SC_CLK_TCK"
    )
    return busy - time.process_time()

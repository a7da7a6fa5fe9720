"""Checks a profile against the cluster's limits before anything is submitted."""

import dataclasses
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from birds.core.errors import nearest
from birds.core.spec import UserError
from birds.launch.slurm.client import ask, number
from birds.launch.slurm.profile import Profile, Resources, minutes_of

SHARED = {
    "nfs",
    "nfs4",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "fuse.glusterfs",
    "afs",
    "panfs",
    "cifs",
    "smb3",
    "wekafs",
}


@dataclasses.dataclass(frozen=True)
class Partition:
    """A partition: its time limit in minutes (None: unlimited) and the largest values of its nodes
    (memory in MB).
    """

    name: str
    up: bool
    default: bool
    minutes: int | None
    nodes: int
    cpus: int
    memory: int
    gpus: int


def partitions() -> dict[str, Partition]:
    """The partitions that this user can see, by name."""
    found: dict[str, Partition] = {}
    for line in ask("sinfo", "-h", "-e", "-o", "%P|%a|%l|%D|%c|%m|%G").splitlines():
        marked, up, time, nodes, cpus, memory, gres = line.split("|")
        name = marked.rstrip("*")
        gpus = sum(int(count) for count in re.findall(r"gpu(?::[^:,()]+)?:(\d+)", gres))
        most = minutes_of(time), int(nodes), number(cpus), number(memory), gpus
        part = Partition(name, up == "up", marked != name, *most)
        other = found.get(name)
        found[name] = part if other is None else _most(part, other)
    return found


def _most(a: Partition, b: Partition) -> Partition:
    most = {name: max(getattr(a, name), getattr(b, name)) for name in ("cpus", "memory", "gpus")}
    return dataclasses.replace(a, nodes=a.nodes + b.nodes, **most)


def sections(profile: Profile) -> dict[str, Resources]:
    """The resources of each stage and variant with its own section, by the key of the section."""
    named: dict[str, Mapping[str, object]] = {"": {}}
    named |= {
        f"{name}.": getattr(profile, name)
        for name in ("pretrain", "classify")
        if getattr(profile, name)
    }
    named |= {f"variant.{name}.": values for name, values in profile.variant.items()}
    return {place: profile.with_section(values) for place, values in named.items()}


def impossible(profile: Profile, known: Mapping[str, Partition]) -> list[str]:
    """One sentence for each request of the profile that the cluster cannot meet."""
    return [
        words
        for place, asked in sections(profile).items()
        for words in _impossible(place, asked, known)
    ]


def _impossible(place: str, asked: Resources, known: Mapping[str, Partition]) -> Iterable[str]:
    key = f"slurm.{place}"
    name = asked.partition or next((part.name for part in known.values() if part.default), None)
    if name is None:
        yield (
            f"{key}partition is not set, and the cluster has no default; choose one of "
            f"{', '.join(known)}"
        )
        return
    several = [part for part in name.split(",") if part not in known]
    if several:
        yield (
            f"{key}partition={name}: no such partition{nearest(several[0], known)} There are: "
            f"{', '.join(known)}"
        )
        return
    parts = [known[part] for part in name.split(",")]
    for what, unit in (("gpus", "GPUs"), ("cpus", "CPUs"), ("memory", "MB")):
        wanted, most = _wanted(asked, what), max(getattr(part, what) for part in parts)
        if wanted > most:
            yield (
                f"{key}{NAMES[what]} requests {wanted} {unit} on a node of {name}, whose largest "
                f"node has {most}"
            )
    longest = max(part.minutes or math.inf for part in parts)
    if asked.time > longest:
        yield f"{key}time={asked.time} minutes is longer than {name} allows: {longest}"
    if not any(part.up for part in parts):
        yield f"partition {name} is down"


NAMES = {"gpus": "gpus", "cpus": "cpus_per_task", "memory": "mem_gb"}


def _wanted(asked: Resources, what: str) -> int:
    if what == "memory":
        return int((asked.mem_gb or 0) * 1024)
    if what == "cpus":
        return max(asked.cpus_per_task or 1, (asked.cpus_per_gpu or 0) * (asked.gpus or 0))
    named = re.search(r"gpu(?::[^:,]+)?:(\d+)", asked.gres or "")
    return max(asked.gpus or 0, asked.gpus_per_task or 0, int(named[1]) if named else 0)


def refuse_impossible(profile: Profile) -> None:
    """Raise UserError with every request that the cluster cannot meet."""
    if found := impossible(profile, partitions()):
        raise UserError("; ".join(found))


def unshared(folder: Path) -> str:
    """A warning for a folder that other nodes may not see; empty for a shared file system."""
    path, best, kind = os.path.realpath(folder), "", "an unknown file system"
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        mounts = []
    for line in mounts:
        _, place, found, *_ = line.split()
        if path.startswith(place.rstrip("/") + "/") and len(place) > len(best):
            best, kind = place, found
    return "" if kind in SHARED else f"{path} is on {kind}: every node must see it at that path"

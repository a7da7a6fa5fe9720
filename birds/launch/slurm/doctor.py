"""Checks a cluster and a profile: what the cluster offers, what will fail, and what to do."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from birds.core.errors import nearest
from birds.core.spec import UserError
from birds.core.store import write_text
from birds.launch.slurm import client
from birds.launch.slurm.limits import Partition, impossible, partitions, unshared
from birds.launch.slurm.profile import Profile, read_profile
from birds.launch.slurm.submit import HOME


def profiles() -> list[str]:
    """The names of the profiles in `slurm/`."""
    return sorted(file.stem for file in (HOME / "slurm").glob("*.yaml"))


def load_profile(name: str) -> Profile:
    """The profile with this name. Raises UserError with the closest name if it does not exist."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    if name not in profiles():
        raise UserError(
            f"no profile slurm/{name}.yaml{nearest(name, profiles())} There are: "
            f"{', '.join(profiles())}"
        )
    with initialize_config_dir(str(HOME), version_base="1.3"):
        values: Any = OmegaConf.to_container(compose(f"slurm/{name}"), resolve=True)
    return read_profile(values["slurm"])


def examine(name: str | None, runs_dir: Path) -> tuple[list[str], int]:
    """Check the cluster, and a profile if one is named.

    Returns the lines to print, and the number of things that will fail. Raises UserError if SLURM
    is missing.
    """
    settings, known = client.settings(), partitions()
    lines = [
        f"cluster {settings.get('ClusterName', '')}, SLURM {settings.get('SLURM_VERSION', '')}"
    ]
    lines += [_told(part) for part in known.values()]
    worries = list(_worries(settings, runs_dir))
    wrong: list[str] = []
    if name is not None:
        profile = load_profile(name)
        wrong = impossible(profile, known)
        worries += _worries_of(profile, settings)
        lines += [] if wrong else [f"ok     slurm={name} requests only what this cluster has"]
    return [
        *lines,
        *(f"wrong  {words}" for words in wrong),
        *(f"note   {words}" for words in worries),
    ], len(wrong)


def _told(part: Partition) -> str:
    longest = "no time limit" if part.minutes is None else f"at most {part.minutes} minutes"
    has = f"up to {part.cpus} CPUs, {part.memory / 1024:.0f} GB, {part.gpus} GPUs per node"
    return (
        f"  partition {part.name}{' (default)' * part.default}: {part.nodes} nodes, {has}, "
        f"{longest}"
    )


def _worries(settings: Mapping[str, str], runs_dir: Path) -> Iterator[str]:
    """Properties of the cluster that the user should know."""
    largest = int(settings.get("MaxArraySize", 0))
    yield f"MaxArraySize is {largest}: sweeps with more jobs are submitted as several arrays"
    if "none" in settings.get("AccountingStorageType", ""):
        yield (
            "there is no accounting: within an hour SLURM forgets why a job ended, but the run "
            "folders keep it"
        )
    mode = settings.get("PreemptMode", "OFF")
    if "OFF" not in mode.upper():
        yield (
            f"jobs can be preempted (PreemptMode={mode}): runs stop between two epochs and "
            "continue when the job restarts"
        )
    if settings.get("JobRequeue") == "0":
        yield "JobRequeue is 0: jobs of a lost node do not restart by themselves; use birds retry"
    if (wait := client.number(settings.get("KillWait", ""))) < 15:
        yield f"KillWait is {wait} s: after SIGTERM a longer epoch is lost and repeated"
    if (kept := client.number(settings.get("MinJobAge", ""))) < 60:
        yield (
            f"MinJobAge is {kept} s: SLURM forgets ended jobs at once, so the reason of a lost job "
            "stays unknown"
        )
    if words := unshared(runs_dir):
        yield words


def _worries_of(profile: Profile, settings: Mapping[str, str]) -> Iterator[str]:
    if profile.time * 60 <= 2 * profile.signal_delay_s:
        yield (
            f"slurm.time={profile.time} min is short compared with "
            f"signal_delay_s={profile.signal_delay_s}"
        )
    if profile.account is None and "associations" in settings.get("AccountingStorageEnforce", ""):
        yield (
            "jobs need an account here; set slurm.account unless you have a default account "
            "(sacctmgr show assoc)"
        )
    if profile.side_by_side > profile.runs_per_job:
        yield (
            f"slurm.side_by_side={profile.side_by_side} has no effect with "
            f"runs_per_job={profile.runs_per_job}"
        )


def write_profile(name: str) -> Path:
    """Write a first profile for this cluster: its default partition, one GPU if there are any, and
    at most four hours.

    Raises UserError when a profile with this name exists.
    """
    file = HOME / "slurm" / f"{name}.yaml"
    if file.exists():
        raise UserError(f"{file} exists already; remove it or choose another name")
    known = partitions()
    part = next((p for p in known.values() if p.default), None) or next(iter(known.values()))
    limit = min(part.minutes or 240, 240)
    gpus = 1 if part.gpus else 0
    memory = max(1, min(16, part.memory // 1024 // max(1, part.gpus)))
    cpus = max(1, min(8, part.cpus // max(1, part.gpus)))
    text = f"""\
# Written by `birds doctor --write {name}` from the cluster's own settings; default.yaml lists
# every key.
defaults: [default, _self_]
name: {name}
partition: {part.name}
time: {limit}            # minutes a job; the partition allows {part.minutes or "any"}
gpus: {gpus or "null"}
cpus_per_task: {cpus}
mem_gb: {memory}
account: null         # set it if your site requires an account
"""
    write_text(file, text)
    return file

"""SLURM's own commands, and nothing else that calls them: each with a time limit, its own words
when it refuses.

`SLURM_*` variables of an allocation that one happens to sit in are kept from them, or they would
leak into the jobs.
"""

import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from birds.core.spec import UserError

PATIENCE_SECONDS = 30
KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")
OVER = {
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "TIMEOUT",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "BOOT_FAIL",
    "DEADLINE",
    "REVOKED",
}


class Silent(UserError):
    """SLURM did not answer: whether it did what was asked is not known."""


@dataclasses.dataclass(frozen=True)
class Element:
    """One element of an array as SLURM knows it: state and reason in SLURM's words."""

    array: int
    index: int
    state: str
    reason: str
    node: str
    name: str

    @property
    def alive(self) -> bool:
        """Whether it is queued or running, or will be again."""
        return self.state not in OVER

    @property
    def id(self) -> str:
        """Its id as SLURM's commands take it."""
        return f"{self.array}_{self.index}"


def installed() -> bool:
    """Whether this machine has SLURM's commands."""
    return shutil.which("sbatch") is not None


def outside(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without what an allocation left in it."""
    return {
        name: value for name, value in env.items() if not name.startswith("SLURM_") or name in KEPT
    }


def ask(*command: str, keep_open: Sequence[int] = (), patience: float = PATIENCE_SECONDS) -> str:
    """What a SLURM command prints. Raises UserError, in its own words, when it is absent, silent or
    refuses.

    Args:
        command: the command and its words; no shell reads them.
        keep_open: file descriptors that the command inherits, such as a lock it is to hold while it
            runs.
        patience: seconds after which it counts as silent.
    """
    try:
        how: Any = {"capture_output": True, "text": True, "timeout": patience, "check": False}
        done = subprocess.run(command, env=outside(os.environ), pass_fds=keep_open, **how)
    except FileNotFoundError:
        raise UserError(
            f"{command[0]} is not on this machine: slurm=NAME works where SLURM's commands are, "
            "such as a login node"
        ) from None
    except subprocess.TimeoutExpired:
        raise Silent(
            f"{command[0]} did not answer within {patience:.0f} s: is SLURM's controller down?"
        ) from None
    if done.returncode:
        words = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise UserError(f"{command[0]} refused: {words}")
    answer: str = done.stdout
    return answer


def elements(names: Sequence[str]) -> list[Element]:
    """Every array element of the jobs of these names that the controller still knows, ended ones
    included.
    """
    found: list[Element] = []
    for first in range(0, len(names), 200):
        some = ",".join(names[first : first + 200])
        listed = ask(
            "squeue", "-h", "-a", "-r", "-t", "all", f"--name={some}", "-o", "%F|%K|%T|%r|%N|%j"
        )
        for line in listed.splitlines():
            array, index, state, reason, node, name = line.split("|")
            if index.isdigit():
                found.append(Element(int(array), int(index), state, reason, node, name))
    return found


def state_of(job: str) -> str:
    """SLURM's word for the state of one job, empty when it is not known any more."""
    try:
        return ask("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").split("\n")[0].strip()
    except UserError:
        return ""


def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs or array elements; those that ended meanwhile are no error."""
    for first in range(0, len(ids), 200):
        ask("scancel", "-Q", *ids[first : first + 200])


def settings() -> dict[str, str]:
    """The cluster's configuration as `scontrol show config` names it."""
    pairs = (
        line.split("=", 1) for line in ask("scontrol", "show", "config").splitlines() if "=" in line
    )
    return {name.strip(): value.strip() for name, value in pairs}


def number(text: str) -> int:
    """The leading number of a setting or a size such as `30 sec` or `64000+`; 0 where there is
    none.
    """
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0

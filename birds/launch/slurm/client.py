"""Calls SLURM's commands, each with a time limit; passes on their error messages.

No other module calls them. `SLURM_*` variables of the present allocation are removed from their
environment, because they would leak into the jobs.
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
    """SLURM did not answer, so it is unknown whether the command had an effect."""


@dataclasses.dataclass(frozen=True)
class Element:
    """One element of a job array, with state and reason in SLURM's words."""

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
        """Its id in the form that SLURM's commands accept."""
        return f"{self.array}_{self.index}"


def installed() -> bool:
    """Whether this machine has SLURM's commands."""
    return shutil.which("sbatch") is not None


def outside(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables of a SLURM allocation."""
    return {
        name: value for name, value in env.items() if not name.startswith("SLURM_") or name in KEPT
    }


def ask(*command: str, keep_open: Sequence[int] = (), patience: float = PATIENCE_SECONDS) -> str:
    """The output of a SLURM command.

    Args:
        command: the command and its arguments; no shell is used.
        keep_open: file descriptors that the command inherits, such as a lock to hold meanwhile.
        patience: seconds to wait for an answer.

    Raises UserError when the command is missing, does not answer, or fails; Silent when it does not
    answer.
    """
    try:
        how: Any = {"capture_output": True, "text": True, "timeout": patience, "check": False}
        done = subprocess.run(command, env=outside(os.environ), pass_fds=keep_open, **how)
    except FileNotFoundError:
        raise UserError(
            f"{command[0]} is not on this machine: slurm=NAME works only where SLURM's commands "
            "are, such as on a login node"
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
    """All array elements of the jobs with these names that SLURM still knows, also ended ones."""
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
    """SLURM's name for the state of a job; empty if SLURM no longer knows the job."""
    try:
        return ask("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").split("\n")[0].strip()
    except UserError:
        return ""


def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs or array elements; jobs that have ended cause no error."""
    for first in range(0, len(ids), 200):
        ask("scancel", "-Q", *ids[first : first + 200])


def settings() -> dict[str, str]:
    """The cluster's configuration from `scontrol show config`."""
    pairs = (
        line.split("=", 1) for line in ask("scontrol", "show", "config").splitlines() if "=" in line
    )
    return {name.strip(): value.strip() for name, value in pairs}


def number(text: str) -> int:
    """The leading number of a setting such as `30 sec` or `64000+`; 0 if there is none."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0

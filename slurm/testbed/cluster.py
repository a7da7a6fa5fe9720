"""A private, real SLURM on this machine: munged, slurmctld and some slurmd as children of one
process, up in a second.

    slurm/testbed/install.sh                           # Debian's packages, once python
    slurm/testbed/cluster.py /tmp/cluster       # prints the line to export, runs until Ctrl-C

Neither root nor systemd, docker or cgroups are needed. The nodes are virtual: all are this machine,
each with its own slurmd. GPUs are device files that SLURM hands out and counts; nothing computes on
them. There is no accounting: a `sacct` that asks the controller lies in `bin/` of the cluster's
folder, unless `sacct=False`.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
GPU_FILES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")

CONF = """\
ClusterName=testbed
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
SlurmctldTimeout=30
SlurmdTimeout={lost_after}
KillWait={kill_wait}
MinJobAge={remembers}
MaxArraySize={max_array}
MaxJobCount=20000
JobRequeue=1
DefMemPerCPU=100
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] {has}
PartitionName=main Nodes=ALL Default=YES MaxTime=2-00:00:00 DefaultTime=60 State=UP
PartitionName=short Nodes=n1 MaxTime=00:10:00 State=UP
"""


def missing() -> list[str]:
    """The programs of SLURM that this machine lacks."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    return [name for name in DAEMONS if shutil.which(name, path=path) is None]


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nobody listens on.

    Each process looks from a place of its own: clusters that start at once must not find the same
    ones.
    """
    for base in range(20000 + os.getpid() * 16 % 12000, 60000, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(base, base + count):
                    stack.enter_context(contextlib.closing(socket.socket())).bind(
                        ("127.0.0.1", port)
                    )
            except OSError:
                continue
            return base
    raise RuntimeError("no free ports")


class Cluster:
    """A cluster in `folder`; `with Cluster(folder) as cluster:` starts and stops it.

    Args:
        folder: where its configuration, state and logs go; a short path (a socket lies in it).
        nodes, cpus, gpus, memory: how many nodes, and what each has (memory in MB).
        max_array: MaxArraySize: the largest index of an array is one less.
        sacct: whether there is a `sacct` that answers. kill_wait, lost_after, remembers: seconds
        from SIGTERM to SIGKILL, until a silent node counts as lost, and for which an ended job is
        remembered.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 2,
        cpus: int = 4,
        gpus: int = 2,
        memory: int = 8000,
        max_array: int = 1001,
        sacct: bool = True,
        kill_wait: int = 5,
        lost_after: int = 10,
        remembers: int = 300,
    ) -> None:
        self.folder, self.nodes = folder, nodes
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        for part in ("spool", "state", "log", "bin"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # munge insists
        (folder / "munge").mkdir(mode=0o755, exist_ok=True)
        key = folder / "munge" / "key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(1024))
        port = free_ports(nodes + 1)
        host = socket.gethostname().split(".")[0]
        gres = f"Gres=gpu:{gpus}" if gpus else ""
        sizes = {
            "nodes": nodes,
            "has": f"CPUs={cpus} RealMemory={memory} {gres}",
            "max_array": max_array,
        }
        waits = {"kill_wait": kill_wait, "lost_after": lost_after, "remembers": remembers}
        ports = {"port": port, "first": port + 1, "last": port + nodes}
        text = CONF.format(
            folder=folder, host=host, user=getpass.getuser(), **ports, **sizes, **waits
        )
        (folder / "slurm.conf").write_text(text)
        files = f"NodeName=n[1-{nodes}] Name=gpu File={','.join(GPU_FILES[:gpus])}\n"
        (folder / "gres.conf").write_text(files if gpus else "")
        (folder / "cgroup.conf").write_text(
            "CgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\n"
        )
        (folder / "bin" / "sacct").unlink(missing_ok=True)
        if sacct:
            (folder / "bin" / "sacct").symlink_to(HERE / "sacct.sh")

    @property
    def env(self) -> dict[str, str]:
        """The environment in which SLURM's commands talk to this cluster."""
        path = f"{self.folder}/bin:{os.environ.get('PATH', '')}:/usr/sbin"
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def run(self, *command: str, check: bool = True) -> str:
        """What a SLURM command prints."""
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=30, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def _spawn(self, name: str, *command: str) -> None:
        dies_with_us = (
            "setpriv",
            "--pdeathsig",
            "KILL",
        )  # tests that are killed leave no daemon behind
        with (self.folder / "log" / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(
                (*dies_with_us, *command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
            )

    def __enter__(self) -> Cluster:
        munge = self.folder / "munge"
        files = [f"--{what}-file={munge}/{what}" for what in ("key", "pid", "log", "seed")]
        self._spawn("munged", "munged", "-F", f"--socket={munge}/socket", *files)
        self._until(lambda: (munge / "socket").exists())
        self.start_controller()
        for number in range(1, self.nodes + 1):
            self.start_node(number)
        self._until(lambda: len(self._idle()) == self.nodes)
        return self

    def _idle(self) -> set[str]:
        return set(self.run("sinfo", "-h", "-N", "-t", "idle", "-o", "%N", check=False).split())

    def _until(self, ready: object, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not ready():  # type: ignore[operator]
            for name, child in self._children.items():
                if child.poll() is not None:
                    raise RuntimeError(
                        f"{name} ended: {(self.folder / 'log' / f'{name}.log').read_text()[-800:]}"
                    )
            if time.monotonic() > deadline:
                raise TimeoutError(f"the cluster in {self.folder} did not come up; see its log/")
            time.sleep(0.05)

    def start_controller(self) -> None:
        """Start slurmctld; jobs that were queued or running when it ended are known again."""
        self._spawn("slurmctld", "slurmctld", "-D")

    def start_node(self, number: int) -> None:
        """Start the slurmd of node `number`, counted from 1."""
        (self.folder / "spool" / f"n{number}").mkdir(exist_ok=True)
        self._spawn(f"n{number}", "slurmd", "-D", "-N", f"n{number}")

    def end(self, name: str, *, by: int = signal.SIGTERM) -> None:
        """End a daemon: `munged`, `slurmctld` or a node such as `n1`. Jobs of a node that is ended
        live on.
        """
        child = self._children.pop(name)
        if child.poll() is None:
            child.send_signal(by)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def wait_empty(self, seconds: float = 60) -> None:
        """Wait until no job is queued or running."""
        self._until(lambda: not self.run("squeue", "-h", check=False).strip(), seconds)

    def clear(self) -> None:
        """Cancel every job and wait until all are gone."""
        self.run("scancel", "--full", "-u", getpass.getuser(), check=False)
        self.run("scancel", "-u", getpass.getuser(), check=False)
        with contextlib.suppress(TimeoutError):
            self.wait_empty(20)

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(Exception):
            self.clear()
        for name in sorted(
            self._children, key=lambda name: (name == "munged", name == "slurmctld")
        ):
            self.end(name)


@contextlib.contextmanager
def interrupted_by_terminate() -> Iterator[None]:
    """Make SIGTERM end the block as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    yield


def main() -> None:
    """Run a cluster until Ctrl-C."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("folder", type=Path)
    for name, value in (("nodes", 2), ("cpus", 4), ("gpus", 2), ("memory", 8000)):
        command.add_argument(f"--{name}", type=int, default=value)
    asked = command.parse_args()
    if lacking := missing():
        raise SystemExit(
            f"no {', '.join(lacking)} on this machine: install SLURM with {HERE / 'install.sh'}"
        )
    sizes = {name: getattr(asked, name) for name in ("nodes", "cpus", "gpus", "memory")}
    with interrupted_by_terminate(), Cluster(asked.folder.resolve(), **sizes) as cluster:
        print(
            f"export SLURM_CONF={cluster.folder}/slurm.conf PATH={cluster.folder}/bin:$PATH",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()

"""Many failures of a cluster happen here, and the records equal those of a sweep without failures:
nothing is lost or done twice.

`BIRDS_CHAOS=200` sets the number of trials with the submitter; the default is 60.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster
from slurm.conftest import Site, ended

from birds.core.spec import RunSpec, Runtime
from birds.core.sweep import read_sweep
from birds.launch.slurm import client, submissions, submit
from birds.launch.slurm.profile import Profile
from birds.launch.slurm.submit import Order

TRIALS = int(os.environ.get("BIRDS_CHAOS", "60"))
SWEEP = ("split=50,75", "variant=A,B1,B2")


class Submitter:
    """Submits a sweep in a process of its own that can be killed at a step or after a time."""

    def __init__(self, site: Site, order: Order, runs: dict[str, RunSpec]) -> None:
        self.site, self.order, self.runs = site, order, runs

    def submit(self, *, dies_at: int | None = None, dies_after: float | None = None) -> int:
        """The exit status: 0, or -9 if it was killed."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if dies_at is not None:
                    die_at_step(dies_at)
                submit.submit(self.order, self.runs)
                status = 0
            finally:
                os._exit(status)
        if dies_after is not None:
            time.sleep(dies_after)
            os.kill(child, signal.SIGKILL)  # not yet reaped, so no other process has its id
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def submitted(self) -> Counter[str]:
        """How many living jobs have each run."""
        found = submissions.read_submissions(self.order.runtime.runs_dir)
        jobs = {(s.name, index): keys for s in found for index, keys in s.jobs.items()}
        listed = self.site.cluster.run("squeue", "-h", "-r", "-o", "%j|%K").split()
        return Counter(
            key for line in listed for key in jobs[line.split("|")[0], int(line.split("|")[1])]
        )


def die_at_step(number: int) -> None:
    """Kill this process before or after a numbered write or request of the submitter."""
    steps = iter(range(10**6))

    def deadly(act: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            result = act(*args, **kwargs)
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    submissions.Submission.save = deadly(submissions.Submission.save)  # type: ignore[method-assign]
    submit.write_text = deadly(submit.write_text)  # type: ignore[attr-defined]
    client.ask = deadly(client.ask)
    submissions.elements = deadly(submissions.elements)  # type: ignore[attr-defined]


@pytest.fixture
def submitter(site: Site, monkeypatch: pytest.MonkeyPatch) -> Submitter:
    """Submits eight runs that stay in the queue, because they start in an hour at the earliest."""
    site.quick(*SWEEP, "launch.wait=false", "+slurm.additional_parameters.begin=now+1hour")
    site.birds("cancel")
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, site.env[name])
    sweep = read_sweep(site.runs_dir, "last")
    assert isinstance(sweep.runtime, Runtime)
    profile = Profile(name="cpu", mem_gb=0.2, additional_parameters={"begin": "now+1hour"})
    return Submitter(site, Order(sweep.name, sweep.runtime, profile), sweep.specs(site.runs_dir))


@pytest.mark.slow
def test_a_submitter_killed_at_any_step_and_asked_again_submits_each_run_once(
    submitter: Submitter,
) -> None:
    killed, figures = 0, []
    for trial in range(TRIALS):
        at_random = random.Random(trial).uniform(0.01, 0.25)
        dies: dict[str, Any] = {"dies_at": trial} if trial < 45 else {"dies_after": at_random}
        killed += submitter.submit(**dies) == -signal.SIGKILL
        assert submitter.submit() == 0
        found = submitter.submitted()
        figures.append((len(found), max(found.values())))
        assert set(found) == set(submitter.runs), f"lost in trial {trial}"
        assert set(found.values()) == {1}, f"doubled in trial {trial}"
        assert submitter.submit() == 0
        assert submitter.submitted() == found
        submitter.site.cluster.clear()
    assert killed > 0.5 * TRIALS
    print(f"{TRIALS} trials, {killed} killed, lost 0, doubled 0")


@pytest.mark.parametrize("seconds", [1.2, pytest.param(2.6, marks=pytest.mark.slow)])
def test_a_killed_command_asked_again_ends_as_if_nothing_had_happened(
    site: Site, seconds: float
) -> None:
    process = site.start(*SWEEP)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    site.quick(*SWEEP)
    site.all_done(8)
    assert set(site.events("started").values()) == {1}


def test_two_people_start_the_same_sweep_at_once(site: Site) -> None:
    both = [site.start(*SWEEP), site.start(*SWEEP, "sweep=another")]
    said = [ended(process) for process in both]
    site.all_done(8)
    assert set(site.events("started").values()) == {1}
    assert all("| 75/25" in words for words in said)


@pytest.mark.slow
def test_scancel_loses_a_run_that_asking_again_brings_back(site: Site) -> None:
    process = site.start("variant=A", "seed=0,905", "launch.canary=false")
    site.until(lambda: len(site.events("started")) == 2 and site.values() and site.epoch())
    job = next(one["job"] for one in site.status() if one["title"] == "A split=90 seed=905")
    site.cluster.run("scancel", job)
    said = ended(process, 1)
    assert "lost" in said
    assert site.states()["A split=90 seed=905"] == "lost"
    assert "cancelled" in site.birds("status")
    site.quick("variant=A", "seed=0,905")
    site.all_done(2)


@pytest.mark.parametrize("warning", [pytest.param("USR2", marks=pytest.mark.slow), "TERM"])
def test_a_warned_run_goes_back_into_the_queue_and_goes_on(site: Site, warning: str) -> None:
    process = site.start("variant=A", "seed=905")
    site.until(site.epoch)
    job = site.status()[0]["job"]
    site.cluster.run("scancel", f"--signal={warning}", job)
    ended(process)
    site.all_done(1)
    (started,) = site.events("started").values()
    assert started == 2
    assert site.jobs() == ["COMPLETED"]
    assert "Restarts=1" in site.cluster.run("scontrol", "show", "job", job)


@pytest.mark.slow
def test_warnings_at_random_moments(site: Site) -> None:
    process = site.start(*SWEEP, "seed=0,1", "slurm.runs_per_job=2")
    draw = random.Random(0)
    while process.poll() is None:
        time.sleep(draw.uniform(0.2, 1.5))
        running = site.cluster.run("squeue", "-h", "-r", "-t", "R", "-o", "%i").split()
        if running and draw.random() < 0.4:
            site.cluster.run("scancel", "--signal=USR2", draw.choice(running), check=False)
    ended(process, None)
    site.quick(*SWEEP, "seed=0,1", "slurm.runs_per_job=2")
    site.all_done(16)


@pytest.mark.slow
def test_a_time_limit_is_forgiven_so_often_and_no_more(site: Site) -> None:
    # SLURM checks time limits every 30 s and warns a little early, so the run must last longer
    # than that
    limit = ("slurm.time=1", "slurm.signal_delay_s=50")
    said = site.quick("variant=A", "seed=907", *limit, "slurm.max_requeues=0", status=1)
    assert "time limit: not finished after 1 jobs of 1 minutes" in said
    assert "cure: raise slurm.time" in said
    site.quick("variant=A", "seed=907", *limit, "slurm.max_requeues=9")
    site.all_done(1)


def test_out_of_memory_in_one_run_touches_no_other(site: Site) -> None:
    site.quick("variant=A,B2", "seed=0,902")
    site.all_done(6)


@pytest.mark.slow
def test_the_controller_restarts_during_a_sweep(site: Site) -> None:
    process = site.start(*SWEEP)
    site.until(lambda: "RUNNING" in site.jobs())
    site.cluster.end("slurmctld")
    time.sleep(1)
    site.cluster.start_controller()
    ended(process)
    site.all_done(8)


@pytest.mark.slow
def test_a_node_is_lost_and_its_run_is_done_on_another(
    new_cluster: Callable[..., Cluster], photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    with new_cluster(nodes=2, cpus=1, gpus=0, lost_after=3) as cluster:
        site = Site(cluster, photos, tmp_path / "runs")
        process = site.start("variant=A", "seed=906")
        site.until(site.epoch)
        first = site.status()[0]["node"]
        cluster.end(first, by=signal.SIGKILL)  # its processes continue as orphans
        ended(process)
        site.all_done(1)
        assert "Restarts=1" in cluster.run("scontrol", "show", "job", site.status()[0]["job"])
        assert site.status()[0]["node"] != first
        assert site.events("started") == dict.fromkeys(site.values(), 2)


@pytest.mark.slow
def test_small_arrays_and_no_sacct(
    new_cluster: Callable[..., Cluster], photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    with new_cluster(max_array=5, sacct=False, gpus=0) as cluster:
        site = Site(cluster, photos, tmp_path / "runs")
        said = site.quick("variant=A,B2", "seed=0,1,2,3,4,5")
        site.all_done(18)
        assert "18 jobs submitted in 6 arrays" in said
        site.quick("variant=A", "seed=904", status=1)
        assert site.states()["A split=90 seed=904"] == "failed"

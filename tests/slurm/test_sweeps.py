"""A sweep on a real SLURM, from the command to the table, and the commands during it."""

from __future__ import annotations

import json
import os
import signal

import pytest
from slurm.conftest import ROOT, Site

SWEEP = ("split=50,75", "variant=A,B1,B2")


def test_a_sweep_ends_in_its_table_and_asked_again_submits_nothing(site: Site) -> None:
    said = site.quick(*SWEEP)
    site.all_done(8)
    assert (
        "8 jobs submitted in 4 arrays" in said
    )  # two pretrainings, two A, B1 and B2 after their pretraining
    assert "| 75/25" in said
    assert set(site.states().values()) == {"finished"}
    assert site.jobs().count("COMPLETED") >= 8
    assert "8 runs: 8 already finished" in site.quick(*SWEEP)
    assert set(site.events("started").values()) == {1}


CHAIN = ("variant=A,B2", "pretraining=simclr", "+pretraining@pretraining.after=denoise")


def test_a_chain_of_three_goes_through_the_cluster(site: Site) -> None:
    said = site.quick(*CHAIN, "seed=0,1")
    site.all_done(8)
    assert "8 jobs submitted in 4 arrays" in said
    assert set(site.states().values()) == {"finished"}
    assert "8 runs: 8 already finished" in site.quick(*CHAIN, "seed=0,1")


def test_a_chain_that_fails_at_its_bottom_is_blocked_at_every_level(site: Site) -> None:
    said = site.quick(*CHAIN, "seed=903", "launch.canary=false", status=1)
    found = {one["title"].split()[0]: one for one in site.status()}
    assert found["denoise"]["state"] == found["A"]["state"] == "failed"
    for name in ("simclr", "B2"):
        assert found[name]["state"] == "blocked"
        assert found[name]["why"] == f"{found['denoise']['key']}, which it needs: failed"
    assert said.count(f"not started: it needs {found['denoise']['key']}") == 2
    site.birds("retry")  # all levels again: nothing is left behind
    site.until(lambda: not site.cluster.run("squeue", "-h").strip())
    assert site.events("started")[found["denoise"]["key"]] == 2


def test_submit_and_leave_then_come_back(site: Site) -> None:
    said = site.quick(*SWEEP, "seed=905", "launch.wait=false", "sweep=mine")
    assert "the sweep's name is mine" in said
    site.until(lambda: "running" in {one["state"] for one in site.status("mine")})
    shown = {one["title"]: one for one in site.status("mine")}
    running = next(one for one in shown.values() if one["state"] == "running")
    assert running["node"]
    assert running["job"]
    site.until(site.epoch)
    assert "epoch 1/4" in site.birds("status", "mine")
    assert shown["B1 split=50 seed=905"]["state"] == "waiting"
    assert (
        shown["B1 split=50 seed=905"]["why"]
        == f"for {shown['autoencode split=50 seed=905']['key']}"
    )
    assert "0 jobs submitted" in site.quick(*SWEEP, "seed=905", "launch.wait=false", "sweep=again")
    assert "jobs cancelled" in site.birds("cancel", "mine")
    site.until(lambda: not site.cluster.run("squeue", "-h").strip(), 30)
    assert "running" not in site.birds("status", "mine")
    assert "did you mean mine?" in site.birds("status", "mime", status=2)


def test_ctrl_c_leaves_the_jobs_running_and_says_how_to_come_back(site: Site) -> None:
    process = site.start("variant=A", "seed=905")
    site.until(lambda: "RUNNING" in site.jobs())
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "birds status last" in err
    assert "RUNNING" in site.jobs()


def test_a_failed_run_is_failed_for_slurm_too_and_stops_only_what_needs_it(site: Site) -> None:
    said = site.quick("variant=A,B2", "seed=0,903", "launch.canary=false", status=1)
    states = site.states()
    assert states["A split=90 seed=0"] == states["B2 split=90 seed=0"] == "finished"
    assert states["A split=90 seed=903"] == states["autoencode split=90 seed=903"] == "failed"
    assert states["B2 split=90 seed=903"] == "blocked"
    assert sorted(set(site.jobs())) == ["CANCELLED", "COMPLETED", "FAILED"]
    assert "diverged: FloatingPointError" in said
    assert "cure: lower the learning rate" in said
    failed = next(one for one in site.status() if one["state"] == "failed")
    assert "FloatingPointError" in site.birds("logs", failed["key"][:8])


def test_retry_does_the_failed_and_lost_only(site: Site) -> None:
    site.quick("variant=A,B2", "seed=0,904", "launch.canary=false", status=1)
    assert site.states()["A split=90 seed=904"] == "failed"
    assert "was ended by SIGKILL" in site.birds("status")
    for finished in (
        5,
        6,
    ):  # blocked runs start now, and this seed kills each first start
        site.birds("retry")
        site.until(
            lambda finished=finished: (
                len(site.values()) == finished and not site.cluster.run("squeue", "-h")
            )
        )
    assert (
        site.events("started")[
            next(one["key"] for one in site.status() if one["title"] == "A split=90 seed=0")
        ]
        == 1
    )
    site.all_done(6)
    assert "no run failed or was lost" in site.birds("retry")


def test_the_canary_holds_the_rest_when_the_first_run_dies_of_a_bug(site: Site) -> None:
    words = ("variant=A", "seed=901,902,0,1,2,3", "slurm.array_parallelism=1")
    said = site.quick(*words, status=1)
    states = list(site.states().values())
    assert states.count("failed") == 1
    assert states.count("held") == 5
    assert "first run had a bug" in said
    (
        site.runs_dir
        / next(one["key"] for one in site.status() if one["state"] == "failed")
        / "record.json"
    ).exists()
    site.quick(*words, "launch.canary=false", status=1)  # started again: the held runs continue
    assert sorted(site.states().values()) == ["failed", *["finished"] * 5]


def test_fail_fast_cancels_what_has_not_started(site: Site) -> None:
    site.quick(
        "variant=A",
        "seed=903,0,1,2,3",
        "slurm.array_parallelism=1",
        "launch.fail_fast=true",
        status=1,
    )
    assert sorted(site.states().values()) == ["failed", *["lost"] * 4]


@pytest.mark.parametrize("side_by_side", [1, 3])
def test_several_runs_in_one_job_and_one_failing_touches_no_neighbour(
    site: Site, side_by_side: int
) -> None:
    job = ("slurm.runs_per_job=3", f"slurm.side_by_side={side_by_side}", "launch.canary=false")
    said = site.quick("variant=A,B2", "seed=0,1,2,903", *job, status=1)
    assert "jobs submitted in" in said
    titles = site.states()
    assert sum(state == "finished" for state in titles.values()) == 9
    assert titles["B2 split=90 seed=903"] == "blocked"
    assert len(site.jobs()) <= 7, "runs were not put together"


def test_out_of_memory_halves_the_batches_and_goes_on_in_the_same_job(site: Site) -> None:
    site.quick("variant=A", "seed=902")
    site.all_done(1)
    (key,) = site.values()
    assert (site.runs_dir / key / "accumulate").read_text() == "4"
    assert site.events("started")[key] == 3


def test_resources_differ_by_stage_and_variant_and_reach_slurm(site: Site) -> None:
    more = (
        "slurm.pretrain.gpus=2",
        "slurm.pretrain.time=7",
        "+slurm.variant.A.gpus=1",
        "slurm.classify.time=5",
    )
    site.quick("variant=A,B2", "seed=905", *more, "launch.wait=false")
    asked = site.cluster.run("squeue", "-h", "-r", "-o", "%j %l %b").split("\n")
    pretrain = next(line for line in asked if "-pretrain-" in line)
    assert "7:00" in pretrain
    assert "gpu:2" in pretrain
    assert {line.split()[1] for line in asked if "-classify-" in line} == {"5:00"}
    assert sorted("gpu:1" in line for line in asked if "-classify-" in line) == [False, True]


def test_what_an_outer_allocation_left_does_not_reach_the_jobs(site: Site) -> None:
    site.env |= {
        "SLURM_JOB_ID": "77",
        "SLURM_ARRAY_TASK_ID": "9",
        "SLURM_NTASKS": "64",
        "SLURM_MEM_PER_NODE": "1",
    }
    site.quick("variant=A", "seed=0")
    site.all_done(1)


def test_dry_run_prints_the_exact_text_and_submits_nothing(site: Site) -> None:
    said = site.quick(*SWEEP, "dry_run=true")
    assert said.count("#SBATCH --job-name=birds-last-") == 4
    assert "#SBATCH --dependency=aftercorr:ARRAY1" in said
    assert not list(site.runs_dir.glob("sweeps/*/submissions/*"))


def test_excluded_cells_are_left_out(site: Site) -> None:
    said = site.quick(*SWEEP, 'launch.exclude=["variant=A split=75","variant=B1"]', "dry_run=true")
    assert "A split=75" not in said
    assert "B1 split" not in said
    assert "A split=50" in said


def test_odd_characters_in_names_and_overrides_are_only_characters(site: Site) -> None:
    name = "it's; touch OUCH & `id` $(touch OUCH) *?[a]"
    site.quick("variant=A", "seed=0", f'sweep="{name}"')
    assert len(site.values()) == 1
    assert not list(site.runs_dir.parent.rglob("OUCH"))
    assert json.loads(site.birds("status", name, "--json"))[0]["state"] == "finished"
    assert "must not be empty or a path" in site.quick("variant=A", "sweep=../elsewhere", status=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["slurm=gpuu"], "did you mean gpu?"),
        (["slurm.partition=mian"], "did you mean main?"),
        (["slurm.gpus=5"], "largest node has 2"),
        (["slurm.mem_gb=999"], "largest node has 64000"),
        (["slurm.pretrain.cpus_per_task=64"], "slurm.pretrain.cpus_per_task requests 64"),
        (["slurm.partition=short", "slurm.time=1:00:00"], "longer than short allows: 10"),
        (["slurm.time=soon"], "slurm.time=soon"),
        (["+slurm.gpuss=1"], "did you mean gpus?"),
        (["slurm.gpus=1", "slurm.gpus_per_node=1"], "two names of one option"),
        (["+slurm.additional_parameters.licenses=nothing@nowhere"], "sbatch refused"),
    ],
)
def test_what_the_cluster_cannot_give_is_refused_before_anything_is_submitted(
    site: Site, words: list[str], said: str
) -> None:
    assert said in site.quick("variant=A,B2", *words, status=2)
    assert not site.cluster.run("squeue", "-h").strip()
    assert not list(site.runs_dir.glob("sweeps/*/submissions/*.json"))


def test_without_slurm_the_message_says_where_it_works(site: Site) -> None:
    site.env |= {"PATH": "/usr/sbin"}
    assert "not on this machine" in site.quick("variant=A", status=2)


def test_the_doctor_reads_the_cluster(site: Site) -> None:
    said = site.birds("doctor", "gpu")
    assert "partition main (default): 2 nodes, up to 4 CPUs, 62 GB, 2 GPUs per node" in said
    assert "ok     slurm=gpu" in said
    assert "MaxArraySize is 1001" in said
    assert "no accounting" in said
    assert "mem_gb requests 65536 MB" in site.birds("doctor", "h200", status=2)
    assert "did you mean h200?" in site.birds("doctor", "h20", status=2)


def test_the_doctor_writes_a_first_profile_that_works(site: Site) -> None:
    file = ROOT / "slurm" / "written-by-a-test.yaml"
    try:
        assert "Written:" in site.birds("doctor", file.stem, "--write", file.stem)
        assert "exists already" in site.birds("doctor", "--write", file.stem, status=2)
        site.quick("variant=A", f"slurm={file.stem}")
        site.all_done(1)
    finally:
        file.unlink(missing_ok=True)


def test_a_folder_that_nodes_may_not_share_is_warned_of(site: Site) -> None:
    assert "every node must see it" in site.quick("variant=A")


def test_a_search_does_not_leave(site: Site) -> None:
    assert "use launch.wait=true" in site.quick(
        "variant=A", "search.seeds=[0]", "launch.wait=false", status=2
    )

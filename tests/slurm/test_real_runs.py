"""Real trainings on a real SLURM: the same results as on this machine, with every launcher and in a
search.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from slurm.conftest import ROOT, Site, ended

from birds.launch.search import trials

MEASURED_ANEW = ("cost_", "git_", "host", "runtime.", "package_versions", "python_version")


def results(runs_dir: Path) -> dict[str, dict[str, Any]]:
    """The records without values that differ each time."""
    found = [json.loads(file.read_text()) for file in runs_dir.glob("*/record.json")]
    return {
        record["key"]: {
            name: value for name, value in record.items() if not name.startswith(MEASURED_ANEW)
        }
        for record in found
    }


def train_here(site: Site, runs_dir: Path, *words: str) -> str:
    """Train the same sweep without SLURM, in another runs folder."""
    settings = [word for word in site.settings if not word.startswith(("slurm", "runs_dir"))]
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "-m",
        *settings,
        f"runs_dir={runs_dir}",
        *words,
    ]
    pipe = subprocess.PIPE
    return ended(
        subprocess.Popen(command, cwd=ROOT, env=site.env, text=True, stdout=pipe, stderr=pipe)
    )


def test_records_equal_those_of_this_machine_even_after_a_warning(
    site: Site, tmp_path: Path
) -> None:
    longer = ("budget.pretrain.epochs=40", "budget.pretrain.patience=40")
    process = site.start("variant=B2", *longer, script=[str(ROOT / "train.py")])
    site.until(lambda: site.epoch() >= 2)
    site.cluster.run("scancel", "--signal=USR2", site.status()[0]["job"])
    said = ended(process)
    assert "| 90/10" in said
    assert "Restarts=1" in site.cluster.run("scontrol", "show", "job", site.status()[0]["job"])
    train_here(site, tmp_path / "here", "variant=B2", *longer)
    assert results(site.runs_dir) == results(tmp_path / "here")
    log = site.birds("logs", site.status()[0]["key"][:8])
    assert "stopped before epoch" in log
    assert log.count("epoch 1/40") == 1, "it began again instead of going on"


@pytest.mark.slow
def test_a_requeued_run_stays_one_wandb_run(site: Site) -> None:
    longer = ("budget.classify.epochs=45", "budget.classify.patience=45", "tracking=offline")
    site.settings = [word for word in site.settings if word != "tracking=none"]
    process = site.start("variant=A", *longer, script=[str(ROOT / "train.py")])
    site.until(lambda: site.epoch() >= 2)
    site.cluster.run("scancel", "--signal=USR2", site.status()[0]["job"])
    ended(process)
    (key,) = results(site.runs_dir)
    folders = [f.name for f in site.runs_dir.glob(f"{key}/tracking/wandb/offline-run-*")]
    assert len(folders) == 2
    assert all(name.endswith(f"-{key}") for name in folders)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_slurm", "basic"])
def test_stock_launchers_end_in_the_same_records(site: Site, tmp_path: Path, launcher: str) -> None:
    own = [f"hydra/launcher={launcher}"]
    if launcher == "submitit_slurm":
        own += ["hydra.launcher.timeout_min=10", "hydra.launcher.mem_gb=1"]
    site.settings = [word for word in site.settings if not word.startswith("slurm")]
    site.train("variant=B1,B2", *own)
    found = results(site.runs_dir)
    assert sorted(record["variant"] for record in found.values()) == ["B1", "B2", "autoencode"]
    logs = [p.read_text() for p in site.runs_dir.rglob("*_log.*")]
    assert sum("epoch 2/2" in text for text in logs) <= 3
    said = train_here(site, site.runs_dir, "variant=B1,B2")
    assert "3 runs: 3 already finished" in said


@pytest.mark.slow
def test_a_search_averages_seeds_survives_being_killed_and_shows_its_trials(site: Site) -> None:
    """Started and killed on this machine, finished on SLURM: the study is the same."""
    slurm, search = (
        site.settings,
        ("sweeps=search", "variant=A", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1"),
    )
    site.settings = [word for word in slurm if not word.startswith("slurm")]
    process = site.start(*search, script=[str(ROOT / "train.py")])
    site.until(lambda: len(results(site.runs_dir)) >= 3, 150)  # the second trial is half done
    process.kill()
    process.communicate()
    before, site.settings = results(site.runs_dir), slurm
    said = site.train(*search)
    assert "finished trials of 2" in said
    rows = trials(site.runs_dir, "search")
    done = [row for row in rows if row["state"] == "complete"]
    assert len(done) == 2
    assert [row["value"] for row in done] == sorted((row["value"] for row in done), reverse=True)
    found = results(site.runs_dir)
    assert len(found) == 4, "two seeds a trial, and no trial's values were drawn anew"
    assert before.items() <= found.items()
    by_lr: dict[float, list[float]] = {}
    for record in found.values():
        by_lr.setdefault(record["choice.training.lr"], []).append(record["valid_accuracy"])
    for row in done:
        assert row["value"] == pytest.approx(sum(by_lr[row["budget.classify.lr"]]) / 2)
    assert f"| {done[0]['trial']} " in site.birds("table", "search")
    refused = site.train(*search, "seed=0,1", status=2)
    assert "the seed cannot be a search parameter" in refused

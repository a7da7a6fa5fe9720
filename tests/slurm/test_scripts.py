"""The exact text that sbatch gets, and how runs become arrays. It does not need SLURM."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from composing import spec

from birds.core.spec import Part, RunSpec, Runtime, UserError
from birds.core.sweep import with_needs
from birds.launch.slurm.doctor import load_profile, profiles
from birds.launch.slurm.profile import Profile, read_profile
from birds.launch.slurm.submissions import Submission
from birds.launch.slurm.submit import Array, Order, Place, lay_out, script_of

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SOURCE = Part(name="folder", options={"root": "/photos"})
RUNTIME = Runtime(runs_dir=Path("/runs"), cache_dir=Path("/runs/cache"), source=SOURCE)
CHAIN = ("variant=B2", "pretraining=simclr", "+pretraining@pretraining.after=denoise")


@pytest.fixture(scope="session", autouse=True)
def slurm_is_installed() -> None:
    """Replaces the fixture of this name, because these tests do not need SLURM."""


def laid_out(
    profile: Profile, runs: dict[str, RunSpec], limit: int = 1001, **where: Place
) -> list[Array]:
    arrays: list[Array] = []

    def send(array: Array) -> str:
        arrays.append(array)
        return str(len(arrays))

    lay_out(Order("test", RUNTIME, profile), list(runs.values()), where, limit, send)
    return arrays


def sweep(*variants: str, seeds: int = 3) -> dict[str, RunSpec]:
    return with_needs([spec(f"variant={v}", f"seed={s}") for s in range(seeds) for v in variants])


@pytest.mark.parametrize("name", profiles())
def test_the_text_for_every_profile(name: str) -> None:
    profile = load_profile(name)
    resources = profile.resources(next(iter(sweep("B2").values())))
    submission = Submission(
        token="00000000", sweep="it's a test", stage="pretrain", jobs={0: ("a",), 1: ("b",), 3: ("c",)},
        depends="aftercorr:7", runtime=RUNTIME, resources=resources, kill_wait_s=1,
        max_requeues=0, canary=True, fail_fast=False, work="birds.train.run.run", written=0.0,
    )  # fmt: skip
    text = script_of(submission).replace(sys.executable, "PYTHON")
    text = text.replace(str(Path(__file__).resolve().parents[2]), "HOME")
    golden = GOLDEN / f"sbatch-{name}.txt"
    assert text == golden.read_text()


def test_classifiers_stand_at_the_index_of_their_pretraining() -> None:
    runs = sweep("A", "B1", "B2")
    arrays = laid_out(Profile(name="x"), runs)
    assert [(a.stage, len(a.jobs), a.depends) for a in arrays] == [
        ("pretrain", 3, ""),
        ("classify", 3, ""),
        ("classify", 3, "aftercorr:1"),
        ("classify", 3, "aftercorr:1"),
    ]
    for array in arrays[2:]:
        for index, (key,) in array.jobs.items():
            (needs,) = runs[key].needs
            assert arrays[0].jobs[index] == (needs.key,)


def chains(seeds: int = 3) -> dict[str, RunSpec]:
    """Chains of three runs, and a classifier without pretraining."""
    asked = [(f"seed={seed}", *words) for seed in range(seeds) for words in (CHAIN, ["variant=A"])]
    return with_needs([spec(*words) for words in asked])


def test_a_chain_of_three_is_an_array_a_depth_each_behind_the_one_before() -> None:
    runs = chains()
    arrays = laid_out(Profile(name="x"), runs)
    assert [(a.stage, len(a.jobs), a.depends) for a in arrays] == [
        ("pretrain", 3, ""),
        ("classify", 3, ""),
        ("pretrain", 3, "aftercorr:1"),
        ("classify", 3, "aftercorr:3"),
    ]
    for below, above in ((0, 2), (2, 3)):
        for index, (key,) in arrays[above].jobs.items():
            assert arrays[below].jobs[index] == (runs[key].needs[0].key,)
    stages = {"pretrain": {"time": 7}, "classify": {"time": 5}}
    times = [a.resources.time for a in laid_out(Profile(name="x", **stages), runs)]
    assert times == [7, 5, 7, 5]


def test_a_chain_whose_jobs_hold_several_runs_waits_for_the_job_below() -> None:
    runs = chains(seeds=4)
    arrays = laid_out(Profile(name="x", runs_per_job=2), runs)
    place = {
        key: (str(number), index)
        for number, array in enumerate(arrays, 1)
        for index, keys in array.jobs.items()
        for key in keys
    }
    assert sorted(place) == sorted(runs)
    for array in arrays:
        for key in (key for keys in array.jobs.values() for key in keys):
            awaited = [place[needed.key] for needed in runs[key].needs]
            assert array.depends == ",".join(f"afterany:{a}_{index}" for a, index in awaited)


def test_a_run_that_needs_two_waits_for_both() -> None:
    last = spec(*CHAIN)
    other = spec("variant=B2", "pretraining=masked").needs[0]
    both = last.model_copy(update={"needs": (*last.needs, other)})
    arrays = laid_out(Profile(name="x"), with_needs([both]))
    place = {keys[0]: f"{n}_{i}" for n, a in enumerate(arrays, 1) for i, keys in a.jobs.items()}
    words = [f"afterok:{place[needed.key]}" for needed in both.needs]
    assert arrays[-1].depends == ",".join(words)
    assert arrays[-1].jobs == {0: (both.key,)}


def test_no_array_is_longer_than_the_cluster_allows_and_every_run_is_in_one_job() -> None:
    runs = sweep("A", "B1", "B2", seeds=7)
    for more in ({}, {"runs_per_job": 3}):
        arrays = laid_out(Profile(name="x", **more), runs, limit=4)
        assert all(max(a.jobs) < 4 for a in arrays)
        jobs = [keys for a in arrays for keys in a.jobs.values()]
        assert sorted(key for keys in jobs for key in keys) == sorted(runs)
        assert max(map(len, jobs)) == more.get("runs_per_job", 1)


def test_what_needs_a_run_that_is_on_its_way_waits_for_it() -> None:
    runs = sweep("B1", "B2", seeds=1)
    (pretrain,) = [key for key, one in runs.items() if one.stage == "pretrain"]
    todo = {key: one for key, one in runs.items() if key != pretrain}
    assert {
        a.depends for a in laid_out(Profile(name="x"), todo, **{pretrain: Place("9", 4, False)})
    } == {"aftercorr:9"}
    shared = laid_out(Profile(name="x"), todo, **{pretrain: Place("9", 4, True)})
    assert {a.depends for a in shared} == {"afterany:9_4"}


@pytest.mark.parametrize(
    ("time", "minutes"), [(90, 90), ("90", 90), ("2:00:00", 120), ("1-12:00:00", 2160), ("0:30", 1)]
)
def test_times_as_slurm_writes_them(time: object, minutes: int) -> None:
    assert read_profile({"name": "x", "time": time}).time == minutes


def test_a_section_with_an_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean gpus"):
        read_profile({"name": "x", "pretrain": {"gpuss": 1}})

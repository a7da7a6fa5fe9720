"""A run killed with SIGKILL at any moment and started again ends with the numbers of a run without
a kill.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from road.conftest import Road

ASKED = ("split=50", "variant=B2", "budget.pretrain.epochs=4", "budget.classify.epochs=4")


@pytest.fixture(scope="module")
def undisturbed(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Road:
    runs_dir = tmp_path_factory.mktemp("undisturbed") / "runs"
    runs_dir.mkdir()
    road = Road(photo_folder, runs_dir)
    road.train(*ASKED)
    return road


def progress(runs_dir: Path, stage: str) -> Iterator[dict[str, int]]:
    for spec in runs_dir.glob("*/spec.json"):
        if (
            json.loads(spec.read_text())["stage"] == stage
            and (spec.parent / "progress.json").exists()
        ):
            yield json.loads((spec.parent / "progress.json").read_text())


def reached(stage: str, epoch: int) -> Callable[[Path], bool]:
    return lambda runs_dir: any(p["epoch"] >= epoch for p in progress(runs_dir, stage))


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "as the first lock is taken": lambda runs_dir: any(runs_dir.glob("*/attempt.json")),
    "after a first epoch of pretraining": reached("pretrain", 1),
    "as pretraining has finished": lambda runs_dir: any(runs_dir.glob("*/record.json")),
    "in the middle of classification": reached("classify", 2),
    "after the last epoch, before the record": reached("classify", 4),
}


def killed_at(road: Road, moments: list[str], *asked: str) -> str:
    """Start, kill at the next of the moments, and start again; returns the last output."""
    for moment in moments:
        road.kill_when(lambda moment=moment: MOMENTS[moment](road.runs_dir), *asked)  # type: ignore[misc]
    return road.train(*asked)


def test_killed_and_asked_again_equals_undisturbed(road: Road, undisturbed: Road) -> None:
    said = killed_at(road, list(MOMENTS), *ASKED)
    assert road.results() == undisturbed.results()
    assert "epoch 1/4" not in said, "it began again instead of going on"


NEW = (
    "split=50",
    "variant=DVAE",
    "pretraining.hidden=0.3",
    "extra_loss=joint",
    "ema=0.8",
    "lr_decay=0.8",
)
NEW_EPOCHS = ("budget.pretrain.epochs=4", "budget.classify.epochs=4")


@pytest.fixture(scope="module")
def undisturbed_joint(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Road:
    runs_dir = tmp_path_factory.mktemp("undisturbed_joint") / "runs"
    runs_dir.mkdir()
    road = Road(photo_folder, runs_dir)
    road.train(*NEW, *NEW_EPOCHS)
    return road


def test_draws_warm_up_averages_and_photos_beside_go_on_as_they_would_have(
    road: Road, undisturbed_joint: Road
) -> None:
    killed_at(
        road,
        ["after a first epoch of pretraining", "in the middle of classification"],
        *NEW,
        *NEW_EPOCHS,
    )
    assert road.results() == undisturbed_joint.results()


@pytest.mark.slow
def test_clusters_are_found_again_after_a_kill(
    road: Road, undisturbed: Road, photo_folder: Path, tmp_path: Path
) -> None:
    """KM's pseudo-labels and the unlabelled photos of each step are the same."""
    asked = [word.replace("B2", "KM") for word in ASKED]
    whole = Road(photo_folder, tmp_path / "whole")
    for one in (whole, road):
        shutil.copytree(undisturbed.runs_dir, one.runs_dir, dirs_exist_ok=True)
    known = set(undisturbed.records())
    whole.train(*asked)

    def half_way() -> bool:
        here = (road.runs_dir / key / "progress.json" for key in set(whole.records()) - known)
        return any(file.exists() and json.loads(file.read_text())["epoch"] >= 2 for file in here)

    road.kill_when(half_way, *asked)
    said = road.train(*asked)
    assert "epoch 1/4" not in said, "it began again instead of going on"
    assert len(whole.results()) == len(known) + 1
    assert road.results() == whole.results()


def test_a_killed_sweep_goes_on(road: Road, undisturbed: Road) -> None:
    sweep = ("-m", "variant=B2,A", *[word for word in ASKED if not word.startswith("variant")])
    road.kill_when(lambda: reached("pretrain", 2)(road.runs_dir), *sweep)
    road.train(*sweep)
    results = road.results()
    assert len(results) == 3
    for key, result in undisturbed.results().items():
        assert results[key] == result


@pytest.mark.parametrize("which", ["record.json", "checkpoints/best.ckpt"])
def test_a_finished_pretraining_that_was_cut_short_is_noticed_and_redone(
    road: Road, undisturbed: Road, which: str
) -> None:
    shutil.copytree(undisturbed.runs_dir, road.runs_dir, dirs_exist_ok=True)
    for key, record in undisturbed.records().items():
        if record["stage"] == "classify":
            shutil.rmtree(road.runs_dir / key)
        else:
            file = road.runs_dir / key / which
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    road.train(*ASKED)
    assert road.results() == undisturbed.results()


@pytest.mark.slow
def test_a_last_checkpoint_cut_short_is_noticed(road: Road, undisturbed: Road) -> None:
    def second_checkpoint() -> bool:
        return reached("pretrain", 2)(road.runs_dir) and any(
            road.runs_dir.glob("*/checkpoints/last.ckpt")
        )

    road.kill_when(second_checkpoint, *ASKED)
    for file in road.runs_dir.glob("*/checkpoints/last.ckpt"):
        file.write_bytes(file.read_bytes()[:1000])
    road.train(*ASKED)
    assert road.results() == undisturbed.results()


def test_a_run_that_was_out_of_memory_goes_on_with_smaller_batches_and_as_many_steps(
    road: Road, undisturbed: Road
) -> None:
    for key in undisturbed.records():
        (road.runs_dir / key).mkdir()
        (road.runs_dir / key / "accumulate").write_text("2")
    road.train(*ASKED)
    for key, record in road.records().items():
        assert record["accumulate"] == 2
        steps = [
            (r.runs_dir / key / "curves.csv").read_text().split()[-1].split(",")[1]
            for r in (road, undisturbed)
        ]
        assert steps[0] == steps[1]
        loss = [
            r.records()[key].get("valid_loss", r.records()[key].get("valid_mse"))
            for r in (road, undisturbed)
        ]
        assert loss[0] == pytest.approx(loss[1], rel=0.2)

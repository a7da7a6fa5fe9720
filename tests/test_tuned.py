"""Fair tuning: equally many trials for each method, on other seeds than the reported ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest

from birds.core.spec import UserError
from birds.launch.search import study_file
from birds.launch.tuned import reported_seeds, tune_and_report, tuning_file

METHODS = {
    "A": {"words": ["variant=A"], "params": {"lr": 0.1}},
    "B2": {"words": ["variant=B2", "head=mlp"], "params": {"lr": 0.3}},
}


def search_in(runs_dir: Path) -> Any:
    """A search of three real trials; the one nearest to the method's own lr is the best."""

    def search(name: str, words: Sequence[str], params: Mapping[str, Any]) -> None:
        file = study_file(runs_dir, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            study_name=name, storage=f"sqlite:///{file}", direction="maximize"
        )
        for lr in (0.1, 0.2, 0.3):
            study.enqueue_trial({"lr": lr})
        study.optimize(
            lambda trial: -abs(trial.suggest_float("lr", 0.0, 1.0) - params["lr"]), n_trials=3
        )

    return search


def test_each_method_is_reported_with_its_own_choices(tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def report(chosen: Mapping[str, Sequence[str]], jobs: Sequence[Sequence[str]]) -> None:
        asked.update(chosen=chosen, jobs=jobs)

    tune_and_report(tmp_path, "fair", METHODS, [0, 1], [100], search_in(tmp_path), report)
    assert asked["chosen"] == {"variant=A": ["lr=0.1"], "variant=B2 head=mlp": ["lr=0.3"]}
    assert asked["jobs"] == [
        ["variant=A", "seed=0"],
        ["variant=A", "seed=1"],
        ["variant=B2", "head=mlp", "seed=0"],
        ["variant=B2", "head=mlp", "seed=1"],
    ]
    told = json.loads(tuning_file(tmp_path, "fair").read_text())
    assert told["search_seeds"] == [100]
    assert {name: own["trials"] for name, own in told["methods"].items()} == {"A": 3, "B2": 3}


def test_a_seed_is_not_both_tuned_on_and_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seed=1 is also a seed of the trials"):
        tune_and_report(tmp_path, "fair", METHODS, [0, 1], [1, 2], None, None)  # type: ignore[arg-type]
    assert reported_seeds(["seed=3,4", "budget=smoke"], [0]) == ([3, 4], ["budget=smoke"])
    with pytest.raises(UserError, match="give the seeds"):
        reported_seeds(["seed=range(3)"], [0])

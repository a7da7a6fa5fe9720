"""The best distinct models of a sweep, chosen by validation."""

import pandas as pd
import pytest

from birds.cli.quantize import best_of_sweep
from birds.core.spec import UserError
from birds.use.quantize.rank import best_runs, ranking

FRAME = pd.DataFrame(
    {
        "key": ["a", "b", "c", "d", "e"],
        "family": ["F", "F", "G", "H", "H"],
        "valid_accuracy": [0.9, 0.8, 0.7, 0.85, 0.6],
        "valid_loss": [0.5, 0.2, 0.9, 0.3, 0.4],
        "valid_recall": [[1.0, 0.0]] * 5,
        "test_accuracy": [0.1, 0.2, 0.9, 0.3, 0.4],
    }
)


def test_seeds_of_one_family_count_once():
    assert ranking(FRAME, "valid_accuracy")["key"].tolist() == ["a", "d", "c"]


def test_of_a_loss_the_smallest_is_best():
    assert ranking(FRAME, "valid_loss")["key"].tolist() == ["b", "d", "c"]


def test_ties_go_to_the_smaller_key_whatever_the_order():
    tied = FRAME.assign(valid_accuracy=0.5)
    assert ranking(tied, "valid_accuracy")["key"].tolist() == ["a", "c", "d"]
    assert ranking(tied.iloc[::-1], "valid_accuracy")["key"].tolist() == ["a", "c", "d"]


def test_an_unknown_criterion_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"did you mean valid_accuracy.*valid_loss"):
        ranking(FRAME, "valid_acuracy")


def test_no_more_than_asked_for_and_only_what_can_be_used():
    assert best_runs(FRAME, best=2)["key"].tolist() == ["a", "d"]
    assert best_runs(FRAME, best=2, usable=lambda key: key != "a")["key"].tolist() == ["d", "c"]
    assert best_runs(FRAME, usable=lambda key: False).empty


def test_a_sweep_gives_its_distinct_models_and_says_when_they_are_fewer(trained, capsys):
    found = best_of_sweep(trained.runs_dir, "tiny", best=3, by="valid_accuracy")
    assert len(found) == 2
    assert trained.keys[2] in {folder.key for folder in found}
    assert "2 distinct finished models, not 3" in capsys.readouterr().err


def test_the_test_part_ranks_nothing():
    with pytest.raises(UserError, match="spoil the test"):
        best_runs(FRAME, by="test_accuracy")

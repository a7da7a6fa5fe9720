"""A sweep reads its own runs again; a name is claimed and belongs to one set of photos."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from composing import composed, spec

from birds.core.locks import locked
from birds.core.spec import RunSpec, UserError
from birds.core.sweep import LONGEST_NAME, Asked, Sweep, read_sweep, sweep_file, with_needs
from birds.launch.chosen import spec_from_config
from birds.launch.search import claimed_study


def asked(name: str, *specs: RunSpec) -> tuple[Sweep, dict[str, Any]]:
    """A sweep of these runs, and its runs by key."""
    return Sweep(name=name, runs=tuple(Asked(key=s.key) for s in specs)), with_needs(specs)


def begin(runs_dir: Path, sweep: Sweep, runs: dict[str, Any]) -> Sweep:
    """Claim the sweep's name and release it at once."""
    with sweep.claimed(runs_dir, runs, beside_older=False) as named:
        return named


def search(runs_dir: Path) -> None:
    """Claim a search's study and release it at once."""
    settings = SimpleNamespace(
        storage=f"sqlite:///{runs_dir}/sweeps/search/study.db", study_name="search"
    )
    with claimed_study(settings):
        pass


def keys(runs_dir: Path, name: str) -> list[str]:
    return [run.key for run in read_sweep(runs_dir, name).runs]


def test_two_sweeps_without_a_name_keep_their_own_lists(tmp_path: Path) -> None:
    a, b = spec("variant=A"), spec("variant=B0")
    (first, its_runs), (second, others) = asked("last", a), asked("last", b)
    with first.claimed(tmp_path, its_runs, beside_older=False) as one:
        assert one.shown_as(tmp_path) == "last"
        with second.claimed(tmp_path, others, beside_older=False) as other:
            assert keys(tmp_path, one.name) == [a.key]
            assert keys(tmp_path, other.name) == [b.key]
            assert keys(tmp_path, "last") == [b.key]
            assert (one.shown_as(tmp_path), other.shown_as(tmp_path)) == (one.name, "last")
    assert keys(tmp_path, one.name) == [a.key], "its list is there when all is over, too"


def test_the_same_sweep_asked_again_leaves_one_list(tmp_path: Path) -> None:
    for _ in range(3):
        sweep, runs = asked("last", spec("variant=A"))
        begin(tmp_path, sweep, runs)
    assert len(list(tmp_path.glob("sweeps/last-*"))) == 1


def test_a_name_in_use_is_refused_for_other_runs_and_joined_for_the_same(tmp_path: Path) -> None:
    first, its_runs = asked("exp1", spec("variant=A"))
    other, others = asked("exp1", spec("variant=B0"))
    with first.claimed(tmp_path, its_runs, beside_older=False):
        with pytest.raises(UserError, match="wait for it, or choose sweep=OTHER"):
            begin(tmp_path, other, others)
        begin(tmp_path, first, its_runs)
        assert keys(tmp_path, "exp1") == [run.key for run in first.runs]
    with other.claimed(tmp_path, others, beside_older=False):
        assert keys(tmp_path, "exp1") == [run.key for run in other.runs]


def test_a_name_belongs_to_its_photos(tmp_path: Path) -> None:
    of_these = spec("variant=A")
    of_others = spec_from_config(composed("variant=A"), "1" * 12)
    first, its_runs = asked("exp1", of_these)
    begin(tmp_path, first, its_runs)
    before = sweep_file(tmp_path, "exp1").read_text()
    other, others = asked("exp1", of_others)
    with pytest.raises(UserError, match=r"belongs to other photos .*sweep=OTHER"):
        begin(tmp_path, other, others)
    assert sweep_file(tmp_path, "exp1").read_text() == before
    assert not (tmp_path / of_others.key).exists(), "nothing was started"
    both, all_runs = asked("exp1", of_these, of_others)
    with both.claimed(tmp_path, all_runs, beside_older=False):
        assert len(keys(tmp_path, "exp1")) == 2


@pytest.mark.parametrize("name", ["n" * 101, "n" * 240, "n" * 300, "ñ" * 60, "麻" * 80])
def test_a_name_that_no_file_could_have_is_refused(tmp_path: Path, name: str) -> None:
    sweep, runs = asked(name, spec("variant=A"))
    with pytest.raises(UserError, match=f"choose one with at most {LONGEST_NAME}"):
        begin(tmp_path, sweep, runs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["n" * LONGEST_NAME, "ñ" * (LONGEST_NAME // 2), "a b", "it's"])
def test_other_names_are_taken(tmp_path: Path, name: str) -> None:
    sweep, runs = asked(name, spec("variant=A"))
    with sweep.claimed(tmp_path, runs, beside_older=False) as named:
        assert keys(tmp_path, named.name) == [run.key for run in sweep.runs]


def test_a_search_that_is_going_on_is_not_begun_again(tmp_path: Path) -> None:
    search(tmp_path)
    with (
        locked(tmp_path / "sweeps/search/search.lock"),
        pytest.raises(UserError, match=r"running in another process.*sweep=OTHER"),
    ):
        search(tmp_path)
    search(tmp_path)

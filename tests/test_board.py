"""Which run a free slot gets, and the names of runs."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
from composing import spec
from rich.console import Console

from birds.core.spec import RunSpec
from birds.core.state import State, not_started, root_cause
from birds.core.sweep import titles, with_needs
from birds.launch.foretold import Counts, efforts
from birds.launch.live_table import duration, seconds_left, shown_runs, summary, view
from birds.launch.progress import Board

CHAIN = ("variant=B2", "pretraining=simclr", "+pretraining@pretraining.after=denoise")


def order_of(board: Board) -> list[str]:
    """The keys in the order in which one slot gets them, each finished before the next."""
    started = []
    while (key := board.next_ready()) is not None:
        started.append(key)
        board.set(key, State.FINISHED)
    return started


def called(specs: list[RunSpec]) -> list[str]:
    return list(titles({one.key: one for one in specs}).values())


def test_pretraining_then_long_runs_then_heads_on_frozen_encoders(tmp_path: Path) -> None:
    specs = {name: spec(f"variant={name}") for name in ("B1", "A", "B2")}
    board = Board(tmp_path, with_needs(list(specs.values())))
    pretraining = specs["B1"].needs[0]
    expected = [pretraining.key, specs["A"].key, specs["B2"].key, specs["B1"].key]
    assert order_of(board) == expected


def test_what_needs_a_failed_pretraining_is_blocked(tmp_path: Path) -> None:
    frozen = spec("variant=B1")
    board = Board(tmp_path, with_needs([frozen]))
    key = board.next_ready()
    assert key is not None
    board.set(key, State.FAILED)
    assert board.next_ready() is None
    assert board.states[frozen.key] is State.BLOCKED


def test_a_chain_of_three_starts_from_its_deepest_run(tmp_path: Path) -> None:
    last, short = spec(*CHAIN), spec("variant=B2", "pretraining=masked")
    board = Board(tmp_path, with_needs([short, last]))
    middle = last.needs[0]
    first = middle.needs[0]
    assert (first.depth, middle.depth, last.depth) == (0, 1, 2)
    order = order_of(board)
    assert order[0] == first.key, "two levels wait for it"
    assert order.index(middle.key) < order.index(last.key)
    assert sorted(order) == sorted(board.runs)


def test_a_failure_at_the_bottom_blocks_every_level_and_is_named(tmp_path: Path) -> None:
    last = spec(*CHAIN)
    middle = last.needs[0]
    first = middle.needs[0]
    board = Board(tmp_path, with_needs([last]))
    assert board.next_ready() == first.key
    board.set(first.key, State.FAILED)
    assert board.next_ready() is None
    assert board.states[middle.key] is board.states[last.key] is State.BLOCKED
    for blocked in (middle, last):
        cause = root_cause(blocked, board.states)
        assert cause == first
        assert f"it needs {first.key} (denoise split=90 seed=0), which failed" in not_started(cause)


def test_runs_are_called_by_what_tells_them_apart() -> None:
    specs = [spec("variant=A"), *(spec("variant=DAE", f"noise={noise}") for noise in (0.0, 0.3))]
    named = titles(with_needs(specs))
    assert sorted(named.values()) == [
        "A split=90 seed=0",
        "DAE split=90 seed=0 noise=0.0",
        "DAE split=90 seed=0 noise=0.3",
        "denoise split=90 seed=0 noise=0.0",
        "denoise split=90 seed=0 noise=0.3",
    ]
    assert list(named) == list(with_needs(specs))


def test_what_a_run_does_not_have_does_not_tell_it_apart() -> None:
    asked = [("simclr",), ("masked", "pretraining.hidden=0.4"), ("masked",)]
    specs = [spec("variant=B1", f"pretraining={name}", *more) for name, *more in asked]
    assert [title.removeprefix("B1 split=90 seed=0 ") for title in called(specs)] == [
        "pretraining=simclr",
        "pretraining=masked hidden=0.4",
        "pretraining=masked hidden=0.6",
    ]


def test_a_chain_is_called_by_what_it_goes_on_from() -> None:
    chain = spec(*CHAIN)
    noisier = spec(*CHAIN, "pretraining.after.noise=0.5")
    short = spec("variant=B2", "pretraining=simclr")
    assert called([chain, short]) == ["B2 split=90 seed=0 after=denoise", "B2 split=90 seed=0"]
    assert called([chain, noisier]) == [
        "B2 split=90 seed=0 after.noise=0.2",
        "B2 split=90 seed=0 after.noise=0.5",
    ]


def test_a_head_is_told_by_its_name_alone() -> None:
    specs = [spec("variant=B1", f"head={name}") for name in ("linear", "mlp", "logistic")]
    heads = [title.removeprefix("B1 split=90 seed=0 ") for title in called(specs)]
    assert [words.split()[0] for words in heads] == ["head=linear", "head=mlp", "head=logistic"]
    assert "views" not in " ".join(heads)


def test_every_run_of_a_large_sweep_has_a_name_of_its_own() -> None:
    swept = [
        ("budget.classify.lr", (1e-3, 2e-3)),
        ("skips", ("plain", "narrow")),
        ("noise", (0.0, 0.1, 0.2)),
    ]
    words = [[f"{key}={value}" for value in values] for key, values in swept]
    specs = with_needs([spec("variant=DAE", *cell) for cell in product(*words)])
    assert len(specs) == 18
    assert len(set(titles(specs).values())) == 18


def many(running: int, failed: int, finished: int, waiting: int) -> dict[str, State]:
    """The states of a sweep, in the order in which its runs should start."""
    states = [State.FINISHED] * finished + [State.FAILED] * failed
    states += [State.RUNNING] * running + [State.WAITING] * waiting
    return {f"{number:02}": state for number, state in enumerate(states)}


def test_36_runs_fit_a_terminal_and_what_runs_is_there() -> None:
    states = many(running=2, failed=1, finished=12, waiting=21)
    names = {key: f"B2 split=90 seed={key} noise=0.2 skips=dropout" for key in states}
    told = {"13": {"state": "testing", "epoch": 20, "epochs": 20, "valid_accuracy": 0.613}}
    told["14"] = {"state": "running", "epoch": 3, "epochs": 20, "loss": 1.5, "seconds_left": 61}
    console = Console(width=80, height=24, record=True, force_terminal=True)
    console.print(view(names, states, told, 240.0, 24))
    lines = console.export_text().splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "12 of 36 runs finished, 2 running, 1 failed, about 4 min left" in lines[0]
    text = "\n".join(lines)
    assert "testing" in text
    assert "61 %" in text
    assert "18 more waiting" in text
    assert text.index("training") < text.index("failed ")


def test_many_running_runs_never_outgrow_the_screen() -> None:
    states = many(running=60, failed=9, finished=0, waiting=60)
    names = {key: key for key in states}
    console = Console(width=80, height=24, record=True, force_terminal=True)
    console.print(view(names, states, {}, None, 24))
    assert len(console.export_text().splitlines()) <= 24
    assert all(states[key] is State.RUNNING for key in shown_runs(states, 18))


def test_the_time_left_follows_the_pace_so_far() -> None:
    states = many(running=1, failed=0, finished=2, waiting=1)
    efforts = dict.fromkeys(states, 10.0)
    told = {"02": {"epoch": 5, "epochs": 10}}
    assert seconds_left(efforts, states, told, [], 50.0) == pytest.approx(30)
    assert seconds_left(efforts, states, told, ["00", "01"], 50.0) == pytest.approx(150)
    assert seconds_left(efforts, states, {}, ["00", "01"], 50.0) is None
    assert (duration(40), duration(300), duration(12000)) == ("40 s", "5 min", "3 h 20 min")
    assert summary(states, None) == "2 of 4 runs finished, 1 running"


def test_without_a_terminal_a_run_is_one_line_and_a_minute_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(tmp_path, with_needs([spec("variant=A"), spec("variant=A", "seed=1")]))
    first, second = board.runs
    with board:
        for state in (State.RUNNING, State.FINISHED):
            board.set(first, state)
        board.set(second, State.RUNNING)
        board.refresh()
        assert len(capsys.readouterr().err.splitlines()) == 1
        monkeypatch.setattr("birds.launch.progress.MINUTE", 0.0)
        board.refresh()
    assert "1 of 2 runs finished, 1 running" in capsys.readouterr().err


def test_the_effort_of_a_run_is_the_images_that_it_trains_on() -> None:
    """Three epochs of 50,000 images are far more work than 20 epochs of 600; a ratio adds to it."""
    counts = Counts(
        10, 10, labelled=600, unlabelled=50_000, valid=100, test=100, fewest=60, asked=None
    )
    words = ("split=90", "budget.pretrain.epochs=3", "budget.classify.epochs=20")
    found = {}
    for name in ("variant=B2", "variant=FixMatch", "variant=FixMatch extra_loss.ratio=3"):
        made = spec(*name.split(), *words)
        one = SimpleNamespace(spec=made, counts=counts)
        runs = {run.key: run for run in made.lineage()}
        found[name] = {runs[key].stage: value for key, value in efforts([one], runs).items()}
    assert found["variant=B2"]["pretrain"] == 150_000
    assert found["variant=B2"]["classify"] == 20 * 2 * 600, "20 steps are more than one pass"
    single = found["variant=B2"]["classify"]
    assert found["variant=FixMatch"]["classify"] == 2 * single
    assert found["variant=FixMatch extra_loss.ratio=3"]["classify"] == 4 * single

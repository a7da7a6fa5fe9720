"""Which run a free slot gets."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from contracts.test_configs import spec

from birds.core.sweep import titles, with_needs
from birds.launch.progress import Board, State


def test_pretraining_then_long_runs_then_heads_on_frozen_encoders(tmp_path: Path) -> None:
    specs = {name: spec(f"variant={name}") for name in ("B1", "A", "B2")}
    board = Board(tmp_path, with_needs(list(specs.values())))
    pretraining = specs["B1"].pretrained
    assert pretraining is not None
    started = []
    while (key := board.next_ready()) is not None:
        started.append(key)
        board.set(key, State.FINISHED)
    assert started == [pretraining.key, specs["A"].key, specs["B2"].key, specs["B1"].key]


def test_what_needs_a_failed_pretraining_is_blocked(tmp_path: Path) -> None:
    frozen = spec("variant=B1")
    board = Board(tmp_path, with_needs([frozen]))
    key = board.next_ready()
    assert key is not None
    board.set(key, State.FAILED)
    assert board.next_ready() is None
    assert board.states[frozen.key] is State.BLOCKED


def test_runs_are_called_by_what_tells_them_apart() -> None:
    specs = [spec("variant=A"), *(spec("variant=DAE", f"noise={noise}") for noise in (0.1, 0.3))]
    named = titles(with_needs(specs))
    assert sorted(named.values()) == [
        "A split=90 seed=0",
        "DAE split=90 seed=0 noise=0.1",
        "DAE split=90 seed=0 noise=0.3",
        "denoise split=90 seed=0 noise=0.1",
        "denoise split=90 seed=0 noise=0.3",
    ]
    assert list(named) == list(with_needs(specs))


def test_what_a_run_does_not_have_does_not_tell_it_apart() -> None:
    asked = [("autoencode",), ("masked", "pretext.hidden=0.4"), ("masked", "pretext.hidden=0.6")]
    specs = [spec("variant=B1", f"pretext={name}", *more) for name, *more in asked]
    named = titles({one.key: one for one in specs})
    called = [title.removeprefix("B1 split=90 seed=0 ") for title in named.values()]
    assert called == [
        "pretext=autoencode",
        "pretext=masked hidden=0.4",
        "pretext=masked hidden=0.6",
    ]


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

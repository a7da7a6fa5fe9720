"""Which run a free slot gets."""

from __future__ import annotations

from pathlib import Path

from contracts.test_configs import spec

from birds.board import Board, State
from birds.sweep import with_needs


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

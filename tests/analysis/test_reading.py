"""A command reads its records once, and its figures are those that a slower way would draw."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from made_up import finish_run, sweep, two_seeds

from analysis import drawing, figures
from analysis.comparisons import compare_sweep
from analysis.drawing import FASTER_PNG, UNDATED, draw_all, save
from analysis.figures import FIGURES, write_figures
from analysis.frame import sweep_frame
from analysis.reading import once, reading_once
from analysis.tables import sweep_table
from bench.starting import after_a_sweep


def test_inside_the_block_a_sweep_is_read_once_and_afterwards_again(tmp_path: Path) -> None:
    keys = [finish_run(tmp_path, "variant=A", "split=90", seed=seed) for seed in (0, 1)]
    sweep(tmp_path, "exp1", keys)
    with reading_once():
        first, _ = sweep_frame(tmp_path, "exp1")
        (tmp_path / keys[1] / "record.json").unlink()
        again, missing = sweep_frame(tmp_path, "exp1")
        pd.testing.assert_frame_equal(first, again)
        assert missing == []
    assert sweep_frame(tmp_path, "exp1")[1] == [keys[1]]


def test_a_caller_may_change_what_it_got(tmp_path: Path) -> None:
    two_seeds(tmp_path, "variant=A split=90", "variant=B2 split=90")
    table, _ = sweep_table(tmp_path, "exp1")
    compared = compare_sweep(tmp_path, "exp1")
    with reading_once():
        for _ in range(2):
            own, missing = sweep_table(tmp_path, "exp1")
            pd.testing.assert_frame_equal(own, table)
            assert own.attrs == table.attrs
            assert missing == []
            own.loc[:, "accuracy"] = 0.0
            own.attrs["meaningless"] = "changed"
            missing.append("changed")
            gaps = compare_sweep(tmp_path, "exp1")
            pd.testing.assert_frame_equal(gaps, compared)
            gaps["gap"] = 1.0


def test_an_error_is_not_kept_and_blocks_share_what_they_read() -> None:
    calls: list[int] = []

    @once
    def read(number: int) -> list[int]:
        calls.append(number)
        if len(calls) == 1:
            raise OSError("not yet")
        return [number]

    with reading_once():
        with pytest.raises(OSError, match="not yet"):
            read(3)
        with reading_once():
            assert read(3) == [3]
        assert read(3) == [3]
        assert calls == [3, 3]
        assert read(4) == [4]
    assert read(3) == [3]
    assert calls == [3, 3, 4, 3]


@pytest.mark.parametrize("name", ["accuracy", "confusion", "learning"])
def test_laying_out_once_draws_what_matplotlib_draws(tmp_path: Path, name: str) -> None:
    """With a layout engine, even one that keeps the layout, matplotlib draws twice for each file."""
    two_seeds(tmp_path, "variant=A split=90", "variant=B2 split=90")
    files = save(FIGURES[name](tmp_path, "exp1"), tmp_path / "once")
    for file in files:
        kind = file.suffix[1:]
        figure = FIGURES[name](tmp_path, "exp1")
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        twice = tmp_path / f"twice.{kind}"
        options = {"pil_kwargs": FASTER_PNG} if kind == "png" else {}
        figure.savefig(twice, format=kind, dpi=160, metadata=UNDATED[kind], **options)
        assert file.read_bytes() == twice.read_bytes(), kind


def test_several_processes_draw_the_figures_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_seeds(tmp_path, "variant=A split=90", "variant=B2 split=90")
    drawn = {name: FIGURES[name] for name in ("accuracy", "noise", "cost", "pareto", "learning")}
    monkeypatch.setattr(figures, "FIGURES", drawn)
    missing = {}
    for count in (1, 3):
        monkeypatch.setattr(drawing, "cores", lambda count=count: count)
        missing[count] = write_figures(tmp_path, "exp1", tmp_path / str(count))
    assert list(missing[1].items()) == list(missing[3].items())
    files = sorted(file.name for file in (tmp_path / "1").iterdir())
    assert len(files) == 3 * len(drawn) - 3 * len(missing[1])
    assert list(missing[1]) == ["noise", "pareto"]
    assert files == sorted(file.name for file in (tmp_path / "3").iterdir())
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "3" / file).read_bytes(), file


def _process(words: str, name: str) -> str:
    if name == "wrong":
        raise ZeroDivisionError(name)
    return f"{words} {name} {os.getpid()}"


def test_results_come_in_order_and_a_bug_in_a_figure_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    names = ["a", "b", "c", "d"]
    results = [text.split() for text in draw_all(partial(_process, "drawn"), names)]
    assert [result[:2] for result in results] == [["drawn", name] for name in names]
    assert str(os.getpid()) not in {result[2] for result in results}
    with pytest.raises(ZeroDivisionError):
        draw_all(partial(_process, "drawn"), ["a", "wrong"])


def test_the_commands_after_a_sweep_are_timed(tmp_path: Path) -> None:
    two_seeds(tmp_path, "variant=A split=90")
    rows = after_a_sweep(tmp_path, "exp1", 1, {"table": 1.0, "dashboard": 2.0})
    assert [row.name for row in rows] == ["birds table on 2 runs", "birds dashboard on 2 runs"]
    assert all(0 < row.value < 600 for row in rows)
    assert [row.aim for row in rows] == [1.0, 2.0]

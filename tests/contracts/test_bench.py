"""The benchmark's own arithmetic, and agreement of the texts about it with the measurements."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from bench.__main__ import BOUNDS, README, table
from bench.paired import RESULTS, Row, in_turn, ratio_row


def test_contenders_are_taken_in_turn_and_warmed_up() -> None:
    calls: list[str] = []

    def contender(name: str, seconds: float) -> float:
        calls.append(name)
        return seconds

    took = in_turn({"a": lambda: contender("a", 1.0), "b": lambda: contender("b", 2.0)}, rounds=8)
    assert took["a"].tolist() == [1.0] * 8
    assert took["b"].tolist() == [2.0] * 8
    assert calls[:2] == ["a", "b"]
    pairs = ["".join(calls[k : k + 2]) for k in range(2, len(calls), 2)]
    assert {"".join(sorted(pair)) for pair in pairs} == {"ab"}
    assert all(first == second[::-1] for first, second in zip(pairs[::2], pairs[1::2], strict=True))


def test_a_ratio_is_of_rounds_and_knows_whether_the_aim_is_reached() -> None:
    drift = np.linspace(1, 3, 21)
    row = ratio_row("x", drift, 2 * drift, 0.45, "")
    assert row.value == pytest.approx(0.5)
    assert (row.low, row.high) == pytest.approx((0.5, 0.5))
    assert row.reached
    assert not Row("seconds", 1.2, 1.0, more=False).reached


def test_what_the_readme_shows_was_measured_and_every_bound_is_of_something() -> None:
    assert table() in README.read_text()
    measured = {
        json.loads(line)["name"]: json.loads(line) for line in RESULTS.read_text().splitlines()
    }
    for name, bound in yaml.safe_load(BOUNDS.read_text()).items():
        assert measured[name]["value"] > bound

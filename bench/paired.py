"""What every measurement here shares: contenders taken in turn, a ratio with its interval, a row
that is kept.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birds.core.machine import cores, cpu_name
from birds.use.latency.race import orders
from birds.use.latency.statistics import Interval, ratio_interval

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results.jsonl"


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement: its value, the interval of it where there is one, and the aim it is held
    against.

    `aim` is the least that is good where `more` is better, else the most. `shown` says what lies
    behind the value.
    """

    name: str
    value: float
    aim: float
    more: bool
    unit: str = "ratio"
    low: float | None = None
    high: float | None = None
    shown: str = ""

    @property
    def reached(self) -> bool:
        """Whether the value is as good as the aim."""
        return self.value >= self.aim if self.more else self.value <= self.aim


def in_turn(
    contenders: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, NDArray[np.float64]]:
    """What each contender says it took, in seconds, in each round (R,): all once a round, in random
    order.

    One round before them, to warm up, does not count. Every second round goes backwards through the
    one before.
    """
    names, random = list(contenders), np.random.default_rng(0)
    for contender in contenders.values():
        contender()
    took = np.empty((len(names), rounds))
    for number, order in enumerate(orders(["all"] * len(names), rounds, random)):
        for k in order:
            took[k, number] = contenders[names[k]]()
    return dict(zip(names, took, strict=True))


def ratio_row(
    name: str,
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    aim: float,
    shown: str,
    *,
    more: bool = True,
) -> Row:
    """The row of first / second, as medians over rounds."""
    ratio: Interval = ratio_interval(first, second)
    return Row(name, ratio.ratio, aim, more, low=ratio.low, high=ratio.high, shown=shown)


def keep(rows: list[Row], others: float | None) -> None:
    """Add rows to `results.jsonl` with what they were measured on; `others` is how many cores other
    processes took.
    """
    where = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        "git": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip(),
        "cpu": cpu_name(),
        "cores": cores(),
        "others": None if others is None else round(others, 3),
    }
    with RESULTS.open("a") as file:
        for row in rows:
            file.write(
                json.dumps(where | dataclasses.asdict(row) | {"reached": row.reached}) + "\n"
            )


def newest() -> list[dict[str, object]]:
    """The newest line of each measurement, in the order in which they were first made."""
    lines = (
        [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    )
    return list({line["name"]: line for line in lines}.values())

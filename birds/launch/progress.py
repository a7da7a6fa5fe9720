"""The state of every run of a sweep, shown live: a bar and a table in a terminal
(`birds.launch.live_table`); elsewhere a line when a run is over, and a line a minute.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

from birds.core.spec import RunSpec
from birds.core.state import OVER, UNMET, State, is_finished
from birds.core.store import RunFolder
from birds.core.sweep import titles
from birds.launch.live_table import duration, effort, seconds_left, summary, view

MINUTE = 60.0  # seconds between two lines on how far the sweep is, where there is no terminal


def _levels_waiting(runs: Mapping[str, RunSpec]) -> dict[str, int]:
    """How many levels of runs wait for each run, by key: 0 for one that none needs."""
    levels = dict.fromkeys(runs, 0)
    for spec in runs.values():
        for run in spec.lineage():
            levels[run.key] = max(levels.get(run.key, 0), spec.depth - run.depth)
    return levels


class Board:
    """Runs by key, in the order in which they should start, and their states."""

    def __init__(self, runs_dir: Path, runs: Mapping[str, RunSpec]) -> None:
        self.runs, self.titles = dict(runs), titles(runs)
        self._levels_waiting = _levels_waiting(self.runs)
        self.console = Console(stderr=True)
        self._folders = {key: RunFolder(runs_dir, key) for key in runs}
        self.states = {
            key: State.FINISHED if is_finished(folder) else State.WAITING
            for key, folder in self._folders.items()
        }
        self.why: dict[str, str] = {}
        self._live: Live | None = None
        self._started = self._said = time.monotonic()
        self._efforts = {key: effort(spec) for key, spec in self.runs.items()}
        self._found = [key for key, state in self.states.items() if state is State.FINISHED]

    def count(self, state: State) -> int:
        """How many runs are in this state."""
        return sum(value is state for value in self.states.values())

    def next_ready(self) -> str | None:
        """The waiting run to start next: one whose needs are all finished, None where there is
        none.

        First come runs on which most levels of others wait, then the longest. Runs whose needs
        failed are blocked.
        """
        ready = []
        for key, spec in self.runs.items():
            if self.states[key] is not State.WAITING:
                continue
            needed = {self.states[run.key] for run in spec.needs}
            if needed <= {State.FINISHED}:
                ready.append(key)
            if needed & set(UNMET):
                self.set(key, State.BLOCKED)
        return max(ready, key=self._urgency, default=None)

    def _urgency(self, key: str) -> tuple[int, bool, int]:
        """Orders runs by how much depends on them, then by how long they roughly take."""
        spec = self.runs[key]
        trains_encoder = spec.views is None and spec.training is not None
        return self._levels_waiting[key], trains_encoder, spec.epochs

    def look_for_records(self) -> bool:
        """Whether a run that was not over has left its record since."""
        return any(
            self._folders[key].record_file.exists()
            for key, own in self.states.items()
            if own not in OVER
        )

    def give_up(self, state: State) -> None:
        """Move every run that waits to `state`."""
        for key in [key for key, own in self.states.items() if own is State.WAITING]:
            self.set(key, state)

    def set(self, key: str, state: State, why: str = "") -> None:
        """Move a run to a state; where there is no live table, say so once it is over."""
        if self.states[key] is state:
            return
        self.states[key], self.why[key] = state, why
        if self._live is None and state in OVER:
            over = sum(own in OVER for own in self.states.values())
            self._say(f"{over}/{len(self.runs)}  {key}  {self.titles[key]:32}  {state.value}")

    def _say(self, words: str) -> None:
        """A line on the error stream, with the time since the start."""
        self._said = time.monotonic()
        spent = duration(self._said - self._started)
        self.console.print(f"{spent:>9}  {words}", highlight=False, soft_wrap=True)

    def __enter__(self) -> Board:
        if self.console.is_terminal:
            self._live = Live(self.view(), console=self.console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.refresh()
        if self._live is not None:
            self._live.stop()

    def refresh(self) -> None:
        """Bring the live table up to date; without one, say once a minute how far the sweep is."""
        if self._live is not None:
            self._live.update(self.view())
        elif time.monotonic() - self._said > MINUTE:
            self._say(summary(self.states, self._seconds_left(self._told())))

    def _told(self) -> dict[str, dict[str, Any]]:
        """What the runs that are at work said of themselves, by key."""
        running = [key for key, state in self.states.items() if state is State.RUNNING]
        return {key: self._folders[key].progress() for key in running}

    def _seconds_left(self, told: Mapping[str, Mapping[str, Any]]) -> float | None:
        spent = time.monotonic() - self._started
        return seconds_left(self._efforts, self.states, told, self._found, spent)

    def view(self) -> RenderableType:
        """The live table, as tall as the terminal at most."""
        told = self._told()
        left = self._seconds_left(told)
        return view(self.titles, self.states, told, left, self.console.height)

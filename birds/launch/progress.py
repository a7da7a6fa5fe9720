"""Shows the state of every run of a sweep while it runs.

In a terminal this is a bar and a table (`birds.launch.live_table`). Elsewhere it prints a line
when a run ends, and a line every minute.
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

MINUTE = 60.0  # seconds between two progress lines outside a terminal


def _levels_waiting(runs: Mapping[str, RunSpec]) -> dict[str, int]:
    """How many levels of runs depend on each run, by key; 0 if no run needs it."""
    levels = dict.fromkeys(runs, 0)
    for spec in runs.values():
        for run in spec.lineage():
            levels[run.key] = max(levels.get(run.key, 0), spec.depth - run.depth)
    return levels


class Board:
    """Runs by key, in the order in which they should start, and their states.

    Args:
        runs_dir: the folder of runs.
        runs: the runs by key.
        efforts: their rough relative durations by key, for the remaining time.
    """

    def __init__(
        self,
        runs_dir: Path,
        runs: Mapping[str, RunSpec],
        efforts: Mapping[str, float] | None = None,
    ) -> None:
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
        self._efforts = efforts or {key: effort(spec) for key, spec in self.runs.items()}
        self._found = [key for key, state in self.states.items() if state is State.FINISHED]

    def count(self, state: State) -> int:
        """How many runs are in this state."""
        return sum(value is state for value in self.states.values())

    def next_ready(self) -> str | None:
        """The run to start next: a waiting run whose needs are all finished. None if there is none.

        Runs with the most dependent levels come first, then the longest runs. A run whose needs
        failed is set to blocked.
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
        """Sort key: the number of dependent levels, then the rough duration."""
        spec = self.runs[key]
        trains_encoder = spec.views is None and spec.training is not None
        return self._levels_waiting[key], trains_encoder, spec.epochs

    def look_for_records(self) -> bool:
        """Whether a run that is not yet shown as over has written its record."""
        return any(
            self._folders[key].record_file.exists()
            for key, own in self.states.items()
            if own not in OVER
        )

    def give_up(self, state: State) -> None:
        """Set every waiting run to `state`."""
        for key in [key for key, own in self.states.items() if own is State.WAITING]:
            self.set(key, state)

    def set(self, key: str, state: State, why: str = "") -> None:
        """Set the state of a run; without a live table, print a line when the run is over."""
        if self.states[key] is state:
            return
        self.states[key], self.why[key] = state, why
        if self._live is None and state in OVER:
            over = sum(own in OVER for own in self.states.values())
            self._say(f"{over}/{len(self.runs)}  {key}  {self.titles[key]:32}  {state.value}")

    def _say(self, words: str) -> None:
        """Print a line on standard error, with the time since the start."""
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
        """Update the live table; without one, print the progress once a minute."""
        if self._live is not None:
            self._live.update(self.view())
        elif time.monotonic() - self._said > MINUTE:
            self._say(summary(self.states, self._seconds_left(self._told())))

    def _told(self) -> dict[str, dict[str, Any]]:
        """The progress reports of the active runs, by key."""
        running = [key for key, state in self.states.items() if state is State.RUNNING]
        return {key: self._folders[key].progress() for key in running}

    def _seconds_left(self, told: Mapping[str, Mapping[str, Any]]) -> float | None:
        spent = time.monotonic() - self._started
        return seconds_left(self._efforts, self.states, told, self._found, spent)

    def view(self) -> RenderableType:
        """The live table, at most as tall as the terminal."""
        told = self._told()
        left = self._seconds_left(told)
        return view(self.titles, self.states, told, left, self.console.height)

"""The state of every run of a sweep, shown live: a table in a terminal, a line per change
elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from birds.core.spec import RunSpec
from birds.core.state import OVER, UNMET, State, is_finished
from birds.core.store import RunFolder
from birds.core.sweep import titles

STYLE = {
    State.RUNNING: "cyan",
    State.FINISHED: "green",
    State.FAILED: "bold red",
    State.LOST: "bold red",
    State.BLOCKED: "red",
    State.HELD: "yellow",
}


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
        self._started = time.monotonic()

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
        """Move a run to a state, and say so where there is no live table."""
        if self.states[key] is state:
            return
        self.states[key], self.why[key] = state, why
        if self._live is None:
            spent = time.monotonic() - self._started
            self.console.print(
                f"{spent:6.1f}s  {key}  {self.titles[key]:32}  {state.value}", highlight=False
            )

    def __enter__(self) -> Board:
        if self.console.is_terminal:
            self._live = Live(self.table(), console=self.console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.refresh()
        if self._live is not None:
            self._live.stop()

    def refresh(self) -> None:
        """Bring the live table up to date."""
        if self._live is not None:
            self._live.update(self.table())

    def table(self) -> Table:
        """Run, state, epoch, loss and time left of every run."""
        table = Table("run", "what", "state", "epoch", "loss", "valid", "left")
        for key, state in self.states.items():
            told = self._folders[key].progress() if state is not State.WAITING else {}
            epoch = f"{told['epoch']}/{told['epochs']}" if "epoch" in told else ""
            losses = (
                f"{told[name]:.4f}" if name in told else "" for name in ("loss", "valid_loss")
            )
            left = (
                f"{told['seconds_left']:.0f} s"
                if state is State.RUNNING and "seconds_left" in told
                else ""
            )
            table.add_row(
                key,
                self.titles[key],
                f"[{STYLE.get(state, 'dim')}]{state.value}[/]",
                epoch,
                *losses,
                left,
            )
        return table

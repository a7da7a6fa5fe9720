"""The state of every run of a sweep, shown live: a table in a terminal, a line per change
elsewhere.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from birds.core.spec import RunSpec
from birds.core.store import RunFolder
from birds.core.sweep import titles


class State(enum.Enum):
    """Where a run is."""

    TODO = "to do"
    WAITING = "waiting"
    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    LOST = "lost"
    BLOCKED = "blocked"


OVER = (
    State.FINISHED,
    State.FAILED,
    State.LOST,
    State.BLOCKED,
    State.HELD,
    State.TODO,
)  # nothing more will happen
STYLE = {
    State.RUNNING: "cyan",
    State.FINISHED: "green",
    State.FAILED: "bold red",
    State.LOST: "bold red",
    State.BLOCKED: "red",
    State.HELD: "yellow",
}


def _length(spec: RunSpec) -> tuple[bool, bool, int]:
    """Orders runs by how long they roughly take; a pretraining, on which others wait, comes before
    them all.
    """
    return spec.stage == "pretrain", not getattr(spec, "frozen", False), spec.training.epochs


class Board:
    """Runs by key, in the order in which they should start, and their states."""

    def __init__(self, runs_dir: Path, runs: Mapping[str, RunSpec]) -> None:
        self.runs, self.titles = dict(runs), titles(runs)
        self.console = Console(stderr=True)
        self._folders = {key: RunFolder(runs_dir, key) for key in runs}
        finished = {key: folder.record() is not None for key, folder in self._folders.items()}
        self.states = {key: State.FINISHED if finished[key] else State.WAITING for key in runs}
        self.why: dict[str, str] = {}
        self._live: Live | None = None
        self._started = time.monotonic()

    def count(self, state: State) -> int:
        """How many runs are in this state."""
        return sum(value is state for value in self.states.values())

    def next_ready(self) -> str | None:
        """The longest waiting run whose needs are met, pretraining first; runs whose needs failed
        are blocked.
        """
        ready = []
        for key, spec in self.runs.items():
            if self.states[key] is not State.WAITING:
                continue
            needed = self.states[spec.needs.key] if spec.needs else State.FINISHED
            if needed is State.FINISHED:
                ready.append(key)
            if needed in (State.FAILED, State.BLOCKED):
                self.set(key, State.BLOCKED)
        return max(ready, key=lambda key: _length(self.runs[key]), default=None)

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

"""The display of a running sweep: one progress bar, then a table of runs.

In a terminal it is redrawn and never taller than the screen. Active runs come first, then failed
runs, then the next ones; the others are only counted. Outside a terminal one line reports the
progress.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from birds.core.spec import RunSpec
from birds.core.state import UNMET, State

STYLE = {
    State.RUNNING: "cyan",
    State.FINISHED: "green",
    State.FAILED: "bold red",
    State.LOST: "bold red",
    State.BLOCKED: "red",
    State.HELD: "yellow",
}
BAR = 16  # characters
AROUND = 6  # lines that show no run: the bar, headings, rules, the count of hidden runs
FROZEN = 0.2  # time of an epoch with a frozen encoder, relative to a whole network
COMING = 3  # waiting runs that are shown
TOLD = 0.02  # share of the work after which a remaining time is shown


def effort(spec: RunSpec) -> float:
    """The rough relative duration of a run: its epochs; epochs with a frozen encoder count less,
    and a fitted head counts as one epoch.
    """
    if spec.training is None:
        return 1.0
    return max(1.0, spec.epochs * (1.0 if spec.views is None else FROZEN))


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def share_of(told: Mapping[str, Any]) -> float:
    """The finished share of a running run, 0 to 1, from its own progress report."""
    epochs = told.get("epochs") or 0
    return min(1.0, told.get("epoch", 0) / epochs) if epochs else 0.0


def seconds_left(
    efforts: Mapping[str, float],
    states: Mapping[str, State],
    told: Mapping[str, Mapping[str, Any]],
    found: Sequence[str],
    spent: float,
) -> float | None:
    """The expected remaining time in seconds at the pace so far; None while too little is done.

    Args:
        efforts: the effort of each run, by key.
        states: the state of each run, by key.
        told: the progress reports of running runs, by key.
        found: the runs that were finished before the start.
        spent: seconds since the start.
    """
    ours = [key for key in efforts if key not in found]
    total = sum(efforts[key] for key in ours)
    done = 0.0
    for key in ours:
        if states[key] is State.FINISHED:
            done += efforts[key]
        elif states[key] is State.RUNNING:
            done += efforts[key] * share_of(told.get(key, {}))
    lost = sum(efforts[key] for key in ours if states[key] in UNMET)
    if total == 0 or done < TOLD * total:
        return None
    return spent / done * max(0.0, total - done - lost)


def summary(states: Mapping[str, State], left: float | None) -> str:
    """`12 of 36 runs finished, 2 running, 1 failed, about 4 min left`."""
    finished = sum(state is State.FINISHED for state in states.values())
    words = [f"{finished} of {len(states)} runs finished"]
    for state in (State.RUNNING, State.QUEUED, State.FAILED, State.LOST, State.BLOCKED, State.HELD):
        count = sum(own is state for own in states.values())
        words += [f"{count} {state.value}"] * (count > 0)
    if left is not None and finished < len(states):
        words.append(f"about {duration(left)} left")
    return ", ".join(words)


def view(
    titles: Mapping[str, str],
    states: Mapping[str, State],
    told: Mapping[str, Mapping[str, Any]],
    left: float | None,
    height: int,
) -> RenderableType:
    """The live view, at most `height` lines.

    Args:
        titles: the title of each run, by key.
        states: the state of each run, by key, in the order in which they should start.
        told: the progress reports of running runs, by key.
        left: remaining seconds, or None if unknown.
        height: the number of lines of the terminal.
    """
    shown = shown_runs(states, max(1, height - AROUND))
    table = Table("run", "state", "epoch", "loss", "accuracy", "left", box=None, padding=(0, 1))
    for key in shown:
        table.add_row(*_cells(titles[key], states[key], told.get(key, {})))
    parts: list[RenderableType] = [_bar(states, left)]
    if shown:
        parts.append(table)
    waiting = sum(state is State.WAITING for state in states.values())
    hidden = waiting - sum(states[key] is State.WAITING for key in shown)
    if hidden > 0:
        parts.append(Text(f" and {hidden} more waiting", style="dim"))
    return Group(*parts)


def shown_runs(states: Mapping[str, State], room: int) -> list[str]:
    """The runs that get a line: active runs, failed runs, and the next runs; at most `room`."""
    ranks: list[list[str]] = [[], [], [], []]
    for key, state in states.items():
        if state is State.RUNNING:
            ranks[0].append(key)
        elif state in (State.FAILED, State.LOST):
            ranks[1].append(key)
        elif state in (State.QUEUED, State.HELD, State.BLOCKED):
            ranks[2].append(key)
        elif state is State.WAITING:
            ranks[3].append(key)
    return [*ranks[0], *ranks[1], *ranks[2], *ranks[3][:COMING]][:room]


def _cells(title: str, state: State, told: Mapping[str, Any]) -> list[RenderableType]:
    word = state.value
    if state is State.RUNNING:
        said = told.get("state", "starting")
        word = "training" if said == "running" else said
    loss = told.get("valid_loss", told.get("loss"))
    accuracy, left = told.get("valid_accuracy"), told.get("seconds_left")
    is_training = state is State.RUNNING and word == "training"
    return [
        Text(title, overflow="ellipsis", no_wrap=True),
        Text(word, style=STYLE.get(state, "dim")),
        f"{told['epoch']}/{told['epochs']}" if "epoch" in told else "",
        "" if loss is None else f"{loss:.3f}",
        "" if accuracy is None else f"{100 * accuracy:.0f} %",
        duration(left) if is_training and left is not None else "",
    ]


def _bar(states: Mapping[str, State], left: float | None) -> Text:
    finished = sum(state is State.FINISHED for state in states.values())
    full = round(BAR * finished / max(1, len(states)))
    text = Text()
    text.append("━" * full, style="green").append("━" * (BAR - full), style="dim")
    return text.append(f" {summary(states, left)}")

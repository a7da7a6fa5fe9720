"""What a person sees while a sweep runs: one bar for all of it, then the runs that are at work.

In a terminal the view is drawn again and again and is never taller than the screen: what runs comes
first, then what failed, then what is next; the rest is a number. Elsewhere a line says how far the
sweep is.
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
AROUND = 6  # lines of the view that are no run: the bar, heads, rules, what is left out
FROZEN = 0.2  # how long a head on a frozen encoder takes an epoch, as a share of a whole network
COMING = 3  # runs that are shown as next
TOLD = 0.02  # share of the work that is done before a time left is said


def effort(spec: RunSpec) -> float:
    """Roughly how long a run takes beside others: its epochs, those of frozen encoders counted
    less; a fitted head counts as one.
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
    """How much of a running run is done, from 0 to 1, by what it said of itself."""
    epochs = told.get("epochs") or 0
    return min(1.0, told.get("epoch", 0) / epochs) if epochs else 0.0


def seconds_left(
    efforts: Mapping[str, float],
    states: Mapping[str, State],
    told: Mapping[str, Mapping[str, Any]],
    found: Sequence[str],
    spent: float,
) -> float | None:
    """How long the rest will take at the pace so far; None while too little is done to say.

    Args:
        efforts: that of each run, by key.
        states: that of each run, by key.
        told: what running runs said of themselves, by key.
        found: the runs that were finished before.
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
        titles: what each run is called, by key.
        states: the state of each run, by key, in the order in which they should start.
        told: what running runs said of themselves, by key.
        left: seconds until all is over, where that can be said.
        height: how many lines there are.
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
    """The runs that have a line of their own: what runs, what failed, and what is next."""
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

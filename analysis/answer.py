"""The summary of a sweep: a short table that fits a terminal, and an answer in three sentences.

The answer names the best method, the differences that are and are not shown, and the next command.
Everything else (p values, effect sizes, costs) is written to files and printed by `birds table
SWEEP --details`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.cell_metrics import BALANCED, OVER
from analysis.comparisons import compare_sweep, write_comparisons
from analysis.early import early_epochs
from analysis.frame import command
from analysis.markdown import markdown
from analysis.phases import phase_text
from analysis.reading import reading_once
from analysis.tables import percent, sweep_table, swept_columns, write_tables
from analysis.variants import REFERENCE, variant
from analysis.verdicts import Verdict, outcome, verdicts
from birds.core.home import birds_on
from birds.core.spec import UserError
from birds.core.terminal import columns, wrapped

NAMED = 3  # comparisons and splits that a sentence names; the others are counted


def print_sweep_table(runs_dir: Path, name: str, written_as: str | None = None) -> None:
    """Print the answer of a sweep, or the reason why there is none yet; see `print_answer`."""
    try:
        print_answer(runs_dir, name, written_as)
    except UserError as refusal:
        print(refusal)


@reading_once()
def print_answer(
    runs_dir: Path, name: str, written_as: str | None = None, *, details: bool = False
) -> None:
    """Write a sweep's tables and comparisons, then print the short table and the answer; with
    `details`, print everything that was written.

    The files are named `written_as`, by default after the sweep. Raises UserError if the sweep has
    no finished run.
    """
    called = written_as or name
    table, missing = sweep_table(runs_dir, name)
    written = [*write_tables(runs_dir, called, table, missing)]
    refusal = ""
    try:
        written += write_comparisons(runs_dir, name, written_as)
    except UserError as error:
        refusal = str(error)
    if details:
        for text, files in written:
            print(f"\n{text}\nWritten: {files}")
        if text := phase_text(runs_dir, name):
            print(f"\n{text}")
    else:
        print(f"\n{short_table(table, columns())}\n")
        for line in [*caption(table, missing), *early_epochs(runs_dir, name)]:
            print(wrapped(line))
    print()
    said = [refusal] if refusal else answer(runs_dir, name, table, missing)
    for line in said:
        print(wrapped(line))
    if not details:
        own = "" if called.startswith("last") else f" {called}"
        more = f"All numbers: birds table{own} --details. Figures: birds figures{own}, or a page: "
        more += f"birds watch{own}. Files: {runs_dir / 'tables'}/{called}*"
        if (birds := birds_on(runs_dir)) != "birds":
            more += f". Write these commands as {birds} ..."
        print(wrapped(more))


def short_table(table: pd.DataFrame, width: int = 80) -> str:
    """The table for a terminal of this width. If it is too wide, the time is dropped first, then
    the variants' titles, then the number of labels.
    """
    several = ["seeds"] * (table["seeds"].nunique() > 1)
    balanced = [BALANCED] * (BALANCED in table)
    attempts = [(True, ["labelled"], ["time"]), (True, ["labelled"], [])]
    attempts += [(False, ["labelled"], ["time"]), (False, ["labelled"], []), (False, [], [])]
    text = ""
    for is_titled, counts, cost in attempts:
        parts = [*counts, *several], [*balanced, "accuracy", *cost]
        text = _short(table, parts[0], parts[1], is_titled=is_titled)
        if len(text.partition("\n")[0]) <= width:
            return text
    return text


def _short(
    table: pd.DataFrame, counts: Sequence[str], numbers: Sequence[str], *, is_titled: bool
) -> str:
    swept = swept_columns(table)
    heads = {"accuracy": "accuracy %", BALANCED: "balanced %"}
    head = ["split", "variant", *(_short_name(name) for name in swept), *counts]
    head += [heads.get(name, name) for name in numbers]
    rows = []
    for row in table.to_dict("records"):
        name = str(row["variant"])
        cells = [f"{row['split']}/{100 - row['split']}"]
        cells += [variant(name).named() if is_titled else name, *(str(row[s]) for s in swept)]
        cells += [str(row[one]) for one in counts]
        for column in numbers:
            is_time = column == "time"
            cells.append(_seconds(row["train_seconds"]) if is_time else percent(row, column))
        rows.append(cells)
    return markdown(head, rows)


def _short_name(choice: str) -> str:
    return choice.rpartition(".")[2]


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def caption(table: pd.DataFrame, missing: Sequence[str]) -> list[str]:
    """Sentences that explain the numbers of the short table."""
    seeds = sorted(set(table["seeds"]))
    over = [words for words in OVER.values() if words in set(table["interval_over"])]
    images = sorted(set(table["test"]))
    of = "a single test image" if images == [1] else f"{' or '.join(map(str, images))} test images"
    said = f"Accuracy on {of}"
    if (chance := table.attrs.get("chance")) is not None:
        said += f"; chance is {100 * chance:.1f} %"
    if seeds[-1] > 1:
        number = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
        said += f"; mean of {number} seeds"
    if over:
        said += f"; in brackets the 95 % interval over {' and over '.join(over)}"
    said += f". {split_words(table)}"
    if table["interval_over"].isna().any():
        said += " A single test image gives no interval."
    if BALANCED in table:
        said += " Class sizes differ: balanced is the mean of the accuracies of the classes."
    lines = [said]
    if missing:
        asked = len(missing) + int(table["seeds"].sum())
        lines.append(f"Not finished: {len(missing)} of {asked} runs.")
    return lines


def split_words(table: pd.DataFrame) -> str:
    """What the column `split` means: of a sweep that hides no label, that it hides none."""
    if set(table["split"]) == {0}:
        return "Split 0/100: no label was hidden."
    return "Split: per cent of the training images whose labels are hidden/used."


def answer(
    runs_dir: Path, name: str, table: pd.DataFrame, missing: Sequence[str] = ()
) -> list[str]:
    """Three sentences: the best method, what is and is not shown, what to run next. A line that
    begins with a blank is a command.

    For a sweep that only tests whether everything works, a sentence says that it has no answer.
    """
    compared = compare_sweep(runs_dir, name)
    found = verdicts(compared)
    lines = [_best(table), *_shown(found)]
    if meaningless := table.attrs.get("meaningless"):
        lines = [meaningless, lines[0]]
        return [*lines, "Next: the same command with budget=laptop."]
    return [*lines, *_next(runs_dir, name, compared, missing)]


def _best(table: pd.DataFrame) -> str:
    """The best variant at each split, with its accuracy and interval; or those that are equal."""
    swept = swept_columns(table)
    reached: dict[str, list[str]] = {}
    splits = list(table.groupby("split"))
    for split, cells in splits[:NAMED]:
        best = cells[cells["accuracy"] == cells["accuracy"].max()].to_dict("records")
        what = _listed_names([_named(row, swept) for row in best])
        number = (
            percent_of(best[0]) if len(best) == 1 else f"{100 * best[0]['accuracy']:.1f} % each"
        )
        reached.setdefault(what, []).append(f"{number} at {split}/{100 - int(str(split))}")
    words = [f"{what}, {' and '.join(numbers)}" for what, numbers in reached.items()]
    more = len(splits) - NAMED
    rest = f"; {more} more splits in the table" if more > 0 else ""
    return f"Best: {'; '.join(words)}{rest}."


def _named(row: Mapping[Any, Any], swept: Sequence[str]) -> str:
    own = [f"{_short_name(choice)}={row[choice]}" for choice in swept if row[choice] != ""]
    return " ".join([variant(str(row["variant"])).named(), *own])


def _listed_names(names: Sequence[str]) -> str:
    """`A`, `A and B are equal`, or `A, B and 2 more are equal`."""
    if len(names) == 1:
        return names[0]
    shown = [*names[:NAMED], *([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])]
    return f"{', '.join(shown[:-1])} and {shown[-1]} are equal"


def percent_of(row: Mapping[Any, Any]) -> str:
    """`71.2 % [68.1, 74.3]`: the accuracy of a row of a table."""
    number, _, interval = percent(dict(row), "accuracy").partition(" ")
    return f"{number} % {interval}".rstrip()


def _shown(found: Sequence[Verdict]) -> list[str]:
    """A paragraph on what is and what is not shown; empty if nothing was compared."""
    ready = [one for one in found if one.seeds]
    if not ready:
        return []
    if all(one.seeds < 2 for one in ready):
        return ["Nothing is shown yet: one seed does not tell how other seeds would do."]
    groups: dict[str, list[Verdict]] = {}
    for one in ready:
        groups.setdefault(outcome(one), []).append(one)
    sentences = []
    for word, own in sorted(groups.items(), key=lambda group: group[0].startswith("not")):
        sentences.append(f"{word[:1].upper()}{word[1:]}: {_listed(own)}.")
    return [" ".join(sentences)]


def _listed(own: Sequence[Verdict]) -> str:
    """Comparisons in a few words each, the widest gaps first."""
    widest = sorted(own, key=lambda one: -abs(one.gap))
    words = []
    for one in widest[:NAMED]:
        words.append(f"{one.variant} against {one.against} at {one.where} {_points(one)}")
    more = len(own) - NAMED
    return "; ".join([*words, *([f"{more} more"] if more > 0 else [])])


def _points(one: Verdict) -> str:
    if pd.isna(one.low):
        return f"({100 * one.gap:+.1f})"
    return f"({100 * one.gap:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}])"


def _next(runs_dir: Path, name: str, compared: pd.DataFrame, missing: Sequence[str]) -> list[str]:
    own = "" if name.startswith("last") else f" {name}"
    found = verdicts(compared)
    if missing:
        return [
            "Next: run what is missing; finished runs are not repeated:",
            _again(runs_dir, name),
        ]
    to_fill = compared[compared["run"] != ""] if len(compared) else compared
    if len(to_fill):
        lacking = str(to_fill["missing"].iloc[0])
        what = f"run what is missing for a comparison ({lacking})" if lacking else "run more seeds"
        return [f"Next: {what}:", f"  {to_fill['run'].iloc[0]}"]
    few = [one for one in found if one.more_seeds]
    if few:
        nearest = min(few, key=lambda one: one.more_seeds or 0)
        what = f"{nearest.variant} against {nearest.against} at {nearest.where}"
        many = f"about {nearest.more_seeds} more may settle {what}"
        return [f"Next: run more seeds ({many}); birds seeds{own} lists them."]
    if any(one.word == "supported" and one.against == REFERENCE for one in found):
        return [f"Next: test whether {REFERENCE} catches up with more steps: make sweep-steps."]
    return [f"Next: see which classes the best models confuse, and why: birds study{own}."]


def _again(runs_dir: Path, name: str) -> str:
    return f"  {command(runs_dir, name)}"

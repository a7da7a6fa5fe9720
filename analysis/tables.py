"""The result table of a sweep: metrics with intervals, and costs, for each variant and split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.cell_metrics import (
    BALANCED,
    FEWEST_IMAGES,
    METRICS,
    OVER,
    metric_intervals,
    values_of,
)
from analysis.frame import (
    chance,
    is_uneven,
    meaningless,
    noisy_hits,
    pretraining_seconds,
    sweep_frame,
    swept_choices,
)
from analysis.intervals import as_proportions
from analysis.markdown import markdown, write_table
from analysis.reading import once
from analysis.statistics import crossed
from birds.core.spec import UserError

FITTED = {"train_accuracy": "train %", "valid_accuracy": "valid %"}
NOISE = (
    "Accuracy in per cent against the share of pixels of the test images that salt and pepper "
    "replaces. In brackets: 95 %\ninterval over seeds and test images, if there are several seeds."
)


@once
def sweep_table(runs_dir: Path, name: str) -> tuple[pd.DataFrame, list[str]]:
    """One row for each split, variant and other swept choice, with metrics and costs; and the keys
    of missing runs.

    low and high are a 95 % interval over seeds and test images. With one seed it is the bootstrap
    interval over images; without saved predictions it is Student's interval over seeds.
    `interval_over` says which. Raises UserError if the sweep does not exist or has no finished run.
    """
    frame, missing = sweep_frame(runs_dir, name)
    if frame.empty:
        raise UserError(f"the sweep {name!r} has no finished run yet ({len(missing)} requested)")
    swept = swept_choices(runs_dir, name)
    frame = frame.assign(pretraining_seconds=pretraining_seconds(runs_dir, frame))
    rows = [
        _row(runs_dir, cell, swept.loc[cell["key"].iloc[0]].to_dict(), uneven=is_uneven(frame))
        for _, cell in frame.groupby("family", sort=False)
    ]
    table = pd.DataFrame(rows).sort_values(["split", "variant"], kind="stable", ignore_index=True)
    table.attrs["meaningless"] = meaningless(frame)
    table.attrs["chance"] = chance(frame)
    table.attrs["noise"] = NOISE + _sample_words(frame)
    return table, missing


def _sample_words(frame: pd.DataFrame) -> str:
    """What to add to the caption of accuracies under noise if they come from a sample."""
    if (
        "test_noise_images" not in frame
        or (frame["test_noise_images"] == frame["images_test"]).all()
    ):
        return ""
    count, every = frame["test_noise_images"].min(), frame["images_test"].max()
    return f"\nEach column, 0 % as well, is of {count:.0f} random ones of the {every} test images."


def _row(
    runs_dir: Path, cell: pd.DataFrame, swept: dict[str, str], *, uneven: bool
) -> dict[str, object]:
    first = cell.iloc[0]
    row: dict[str, object] = {
        "split": int(first["split"]),
        "variant": first["variant"],
        **swept,
        "seeds": len(cell),
        "labelled": int(first["images_labelled"]),
        "unlabelled": _unlabelled(first),
        "test": int(first["images_test"]),
    }
    intervals, over = metric_intervals(runs_dir, cell)
    for metric in METRICS:
        low, high = intervals[metric]
        mean = float(np.mean(cell[f"test_{metric}"]))
        row |= {metric: mean, f"{metric}_low": low, f"{metric}_high": high}
    if uneven:
        row |= _balanced(cell, *intervals.get(BALANCED, (np.nan, np.nan)))
    for column in FITTED:
        if column in cell:
            row[column] = float(cell[column].mean())
    row |= _under_noise(runs_dir, cell)
    row["train_seconds"] = float(cell["cost_seconds"].mean())
    row["pretraining_seconds"] = float(cell["pretraining_seconds"].mean())
    row["interval_over"] = over
    for name in ("parameters", "parameters_trained"):
        row[name] = first.get(f"cost_{name}", np.nan)
    row["family"] = first["family"]
    return row


def _unlabelled(record: pd.Series) -> int:
    """The number of unlabelled images of a run: split plus pool, minus images left out as far."""
    pool, far = (record.get(f"images_{name}", 0) for name in ("pool", "filtered"))
    more = sum(0 if pd.isna(one) else sign * int(one) for one, sign in ((pool, 1), (far, -1)))
    return int(record["images_unlabelled"]) + more


def _balanced(cell: pd.DataFrame, low: float, high: float) -> dict[str, float]:
    """Balanced accuracy with its interval, from the confusion matrices."""
    values = values_of(cell, BALANCED)
    mean = float(np.mean(values)) if values else np.nan
    return {BALANCED: mean, f"{BALANCED}_low": low, f"{BALANCED}_high": high}


def _under_noise(runs_dir: Path, cell: pd.DataFrame) -> dict[str, float]:
    """Mean accuracy over seeds at each fraction of salt and pepper on the test images, and half the
    width of its interval.
    """
    if "test_accuracy_noise" not in cell or cell["test_accuracy_noise"].isna().any():
        return {}
    noise = cell["test_noise"].iloc[0]
    mean = np.mean(cell["test_accuracy_noise"].tolist(), axis=0)
    saved = [noisy_hits(runs_dir, key) for key in cell["key"]]
    half = np.full(len(noise), np.nan)
    hits = [one[1] for one in saved if one]
    on_same_images = len({one[0].tobytes() for one in saved if one}) == 1
    if len(hits) == len(saved) > 1 and on_same_images and len(hits[0]) >= FEWEST_IMAGES:
        half = crossed(np.array([one.T for one in hits], float).swapaxes(0, 1)).satterthwaite()
    means = {f"accuracy_noise_{share:g}": float(a) for share, a in zip(noise, mean, strict=True)}
    return means | {f"half_noise_{share:g}": float(h) for share, h in zip(noise, half, strict=True)}


def swept_columns(table: pd.DataFrame) -> list[str]:
    """The columns of the other swept choices, which follow split and variant."""
    return list(table.columns)[2 : list(table.columns).index("seeds")]


def as_markdown(table: pd.DataFrame) -> str:
    """The table as Markdown, with percentages and intervals."""
    swept = swept_columns(table)
    counts = ["seeds", "labelled"]
    if table["unlabelled"].nunique() > 1 or (table["split"] == 0).any():
        counts.append("unlabelled")  # if the split does not determine it
    balanced = [BALANCED] * (BALANCED in table)
    fitted = [name for name in FITTED if name in table]
    head = [
        "split",
        "variant",
        *swept,
        *counts,
        "accuracy %",
        *["balanced %" for _ in balanced],
        "macro F1 %",
        *(FITTED[name] for name in fitted),
        "training s",
        "pretraining s",
        "parameters",
    ]
    rows = []
    for r in table.to_dict("records"):
        shown = [percent(r, metric) for metric in (METRICS[0], *balanced, *METRICS[1:])]
        shown += ["-" if pd.isna(r[name]) else f"{100 * r[name]:.1f}" for name in fitted]
        choices = [r[name] for name in ("variant", *swept)]
        numbers = [str(r[name]) for name in counts]
        cut = f"{r['split']}/{100 - r['split']}"
        rows.append([cut, *choices, *numbers, *shown, *_cost(r)])
    return markdown(head, rows)


def _cost(row: dict[Any, Any]) -> list[str]:
    """Seconds of training, seconds of pretraining, and the number of parameters."""
    parameters = "-" if pd.isna(row["parameters"]) else f"{row['parameters']:,.0f}"
    return [f"{row['train_seconds']:.0f}", f"{row['pretraining_seconds']:.0f}", parameters]


def percent(row: dict[str, Any], metric: str) -> str:
    """A metric of a row of a sweep's table in per cent, with its interval: `71.2 [68.1, 74.3]`."""
    mean, low, high = (100 * row[name] for name in (metric, f"{metric}_low", f"{metric}_high"))
    if np.isnan(mean):
        return "-"
    return f"{mean:.1f}" if np.isnan(low) else f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def write_tables(
    runs_dir: Path, name: str, table: pd.DataFrame, missing: list[str]
) -> list[tuple[str, str]]:
    """Write a sweep's table to `tables/` as Markdown, CSV and LaTeX; returns each text and its
    files.

    If the runs were also tested under noise, a second table `NAME-noise` has those accuracies.
    """
    text, stem = f"{as_markdown(table)}\n\n{_note(table, missing)}", runs_dir / "tables" / name
    written = [(text, write_table(stem, text, table.to_csv(index=False)))]
    noise = noise_table(table)
    if not noise.empty:
        shown = markdown(list(noise.columns), noise.astype(str).to_numpy().tolist())
        noisy_text, csv = f"{shown}\n\n{table.attrs['noise']}", noise.to_csv(index=False)
        noisy_stem = stem.with_name(f"{name}-noise")
        written.append((noisy_text, write_table(noisy_stem, noisy_text, csv)))
    return written


def noise_table(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in per cent with its interval, for each cell of a sweep's table and share of
    replaced pixels; "-" for a cell without the measurement. Empty if no cell has it.
    """
    start = "accuracy_noise_"
    shares = [name.removeprefix(start) for name in table.columns if name.startswith(start)]
    noisy = sorted(shares, key=float)
    cells = table["split"].map(lambda split: f"{split}/{100 - split}").to_frame()
    shown = cells.join(table[["variant", *swept_columns(table)]])
    for share in noisy:
        mean, half = table[f"accuracy_noise_{share}"], table[f"half_noise_{share}"]
        ends = []
        for middle, width in zip(mean, half, strict=True):
            low, high = as_proportions(middle - width, middle + width)
            ends.append({"at": middle, "at_low": low, "at_high": high})
        shown[f"{100 * float(share):g} % noise"] = [percent(end, "at") for end in ends]
    return shown if noisy else pd.DataFrame()


def _note(table: pd.DataFrame, missing: list[str]) -> str:
    over = " and ".join(
        f"over {what}" for what in OVER.values() if what in set(table["interval_over"])
    )
    brackets = f"In brackets: 95 % interval {over}. " if over else ""
    if table["interval_over"].isna().any():
        brackets += "A single test image gives no interval. "
    note = f"{brackets}Split: per cent of the training images whose labels are hidden/used."
    if table.attrs.get("chance") is not None:
        note += f" Chance: {100 * table.attrs['chance']:.1f} %."
    if BALANCED in table:
        note += (
            "\nClass sizes differ by more than two to one: balanced is the mean of the accuracies "
            "of the classes."
        )
    if table.attrs.get("meaningless"):
        note = f"{table.attrs['meaningless']}\n{note}"
    if missing:
        asked = len(missing) + int(table["seeds"].sum())
        note += f"\nNot finished: {len(missing)} of {asked} runs; the same command runs them."
    return note

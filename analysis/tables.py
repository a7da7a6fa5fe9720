"""The result table of a sweep: what each variant reaches at each split, how sure that is, and what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.frame import pretraining_seconds, sweep_frame, swept_choices
from analysis.intervals import photo_bootstrap, seed_interval
from analysis.markdown import markdown, write_table
from birds.spec import Refused
from birds.store import RunFolder

NOISE = "Mean accuracy over seeds, in per cent, by the share of pixels replaced by salt and pepper in the test photos."
METRICS = ("accuracy", "macro_f1")


def sweep_table(runs_dir: Path, name: str) -> tuple[pd.DataFrame, list[str]]:
    """One row per split, variant and whatever else was swept: its metrics and cost; and the keys of missing runs.

    low and high are Student's 95 % interval over seeds, or with one seed the bootstrap interval over its test photos.
    Raises Refused when there is no such sweep or none of its runs is finished.
    """
    frame, missing = sweep_frame(runs_dir, name)
    if frame.empty:
        raise Refused(f"the sweep {name!r} has no finished run yet ({len(missing)} asked for)")
    swept = swept_choices(runs_dir, name)
    frame = frame.assign(pretraining_seconds=pretraining_seconds(runs_dir, frame))
    rows = [
        _row(runs_dir, cell, swept.loc[cell["key"].iloc[0]].to_dict())
        for _, cell in frame.groupby("family", sort=False)
    ]
    table = pd.DataFrame(rows).sort_values(["split", "variant"], kind="stable", ignore_index=True)
    return table, missing


def _row(runs_dir: Path, cell: pd.DataFrame, swept: dict[str, str]) -> dict[str, object]:
    first = cell.iloc[0]
    row: dict[str, object] = {
        "split": int(first["split"]),
        "variant": first["variant"],
        **swept,
        "seeds": len(cell),
        "labelled": int(first["photos_labelled"]),
        "unlabelled": int(first["photos_unlabelled"]),
        "test": int(first["photos_test"]),
    }
    bootstrap = _bootstrap(runs_dir, first["key"]) if len(cell) == 1 else {}
    for metric in METRICS:
        values = cell[f"test_{metric}"].tolist()
        low, high = seed_interval(values) if len(values) > 1 else bootstrap.get(metric, (np.nan, np.nan))
        row |= {metric: float(np.mean(values)), f"{metric}_low": low, f"{metric}_high": high}
    if "valid_accuracy" in cell:
        row["valid_accuracy"] = float(cell["valid_accuracy"].mean())
    row |= _under_noise(cell)
    row["train_seconds"] = float(cell["cost_seconds"].mean())
    row["pretraining_seconds"] = float(cell["pretraining_seconds"].mean())
    row["parameters"] = int(first["cost_parameters"])
    row["parameters_trained"] = int(first["cost_parameters_trained"])
    row["family"] = first["family"]
    return row


def _under_noise(cell: pd.DataFrame) -> dict[str, float]:
    """Mean accuracy over seeds at each fraction of salt and pepper on the test photos."""
    if "test_accuracy_noise" not in cell or cell["test_accuracy_noise"].isna().any():
        return {}
    mean = np.mean(cell["test_accuracy_noise"].tolist(), axis=0)
    return {f"accuracy_noise_{noise:g}": float(a) for noise, a in zip(cell["test_noise"].iloc[0], mean, strict=True)}


def _bootstrap(runs_dir: Path, key: str) -> dict[str, tuple[float, float]]:
    try:
        with np.load(RunFolder(runs_dir, key).predictions_file) as saved:
            label, logits = saved["test_label"], saved["test_logits"]
    except (OSError, ValueError, KeyError):
        return {}
    return photo_bootstrap(label, logits.argmax(1), logits.shape[1])


def swept_columns(table: pd.DataFrame) -> list[str]:
    """The columns of a sweep's table that say what else was swept; they come third."""
    return list(table.columns)[2 : list(table.columns).index("seeds")]


def as_markdown(table: pd.DataFrame) -> str:
    """The table for people, percentages with their intervals, as Markdown; other choices that were swept come third."""
    swept = swept_columns(table)
    head = [
        "split",
        "variant",
        *swept,
        "seeds",
        "labelled",
        "accuracy %",
        "macro F1 %",
        "training s",
        "pretraining s",
        "parameters",
    ]
    rows = []
    for r in table.to_dict("records"):
        shown = [_percent(r, metric) for metric in METRICS]
        cost = [f"{r['train_seconds']:.0f}", f"{r['pretraining_seconds']:.0f}", f"{r['parameters']:,}"]
        rows.append(
            [
                f"{r['split']}/{100 - r['split']}",
                *(r[name] for name in ("variant", *swept)),
                *(str(r[name]) for name in ("seeds", "labelled")),
                *shown,
                *cost,
            ]
        )
    return markdown(head, rows)


def _percent(row: dict[str, float], metric: str) -> str:
    mean, low, high = (100 * row[name] for name in (metric, f"{metric}_low", f"{metric}_high"))
    return f"{mean:.1f}" if np.isnan(low) else f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def print_sweep_table(runs_dir: Path, name: str) -> None:
    """Print a sweep's table, or why there is none yet."""
    try:
        table, missing = sweep_table(runs_dir, name)
    except Refused as refusal:
        print(refusal)
    else:
        write_and_print(runs_dir, name, table, missing)


def write_and_print(runs_dir: Path, name: str, table: pd.DataFrame, missing: list[str]) -> None:
    """Print a sweep's table and write it under `tables/`, as Markdown, CSV and LaTeX; says which runs are missing.

    Where the test photos were shown with noise, too, a second table says what that costs: `NAME-noise`.
    """
    text, stem = f"{as_markdown(table)}\n\n{_note(table, missing)}", runs_dir / "tables" / name
    written = [write_table(stem, text, table.to_csv(index=False))]
    noise = noise_table(table)
    if not noise.empty:
        shown = markdown(list(noise.columns), noise.astype(str).to_numpy().tolist())
        written.append(write_table(stem.with_name(f"{name}-noise"), f"{shown}\n\n{NOISE}", noise.to_csv(index=False)))
    print(f"\n{text}\nWritten: {'; '.join(written)}")


def noise_table(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in per cent by cell of a sweep's table and share of replaced pixels; empty where it was not measured."""
    noisy = [name for name in table.columns if name.startswith("accuracy_noise_")]
    shares = {name: f"{100 * float(name.removeprefix('accuracy_noise_')):g} % noise" for name in noisy}
    cells = table["split"].map(lambda split: f"{split}/{100 - split}").to_frame()
    shown = cells.join(table[["variant", *swept_columns(table)]]).join((100 * table[noisy]).round(1))
    return shown.rename(columns=shares) if noisy else pd.DataFrame()


def _note(table: pd.DataFrame, missing: list[str]) -> str:
    photos = f"the {table['test'].iloc[0]} test photos where there is one seed"
    over = " and ".join(
        ["seeds (Student's t)"] * bool(table["seeds"].max() > 1) + [photos] * bool(table["seeds"].min() == 1)
    )
    note = f"In brackets: 95 % interval over {over}. Split: unlabelled/labelled per cent of the training photos."
    if missing:
        note += (
            f"\nNot finished: {len(missing)} of {len(missing) + int(table['seeds'].sum())} runs; ask again to run them."
        )
    return note

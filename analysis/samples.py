"""The table of generated images: one row for each run that generates images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.markdown import markdown, write_table

NOTE = (
    "Fréchet: distance in the judge's features between equal numbers of generated and test "
    "images; real: between training and\ntest images. The ratio is 1 if generated images are "
    "as close as real ones. It depends on the number of images: compare\nonly rows with "
    "equal numbers. Seen: classes that the judge finds among the samples. Rarest: samples of the "
    "rarest class.\n"
    "Confidence: mean of the judge's highest probability; in brackets, for test images."
)


def samples_table(
    judged: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]],
) -> pd.DataFrame:
    """One row for each generator.

    Args:
        judged: for each generator its title, its record and the measurements of its samples.
    """
    rows = []
    for title, record, numbers in judged:
        row = {"data": record["data_name"], "run": title, "epochs": record["epochs"]}
        row["train_seconds"] = record["cost_seconds"]
        counts = numbers["class_counts"].values()
        row |= {name: value for name, value in numbers.items() if name != "class_counts"}
        rows.append(row | {"rarest": min(counts)})
    return pd.DataFrame(rows)


def as_markdown(table: pd.DataFrame) -> str:
    """The table as Markdown, with a note on its columns."""
    head = ["data", "run", "key", "epochs", "minutes", "images", "Fréchet", "real", "ratio"]
    head += ["seen", "rarest", "confidence %", "judge"]
    rows = []
    for row in table.to_dict("records"):
        cells = [row["data"], row["run"], row["key"], str(row["epochs"])]
        cells.append(f"{row['train_seconds'] / 60:.1f}")
        cells.append(str(row["images"]))
        cells += [f"{row['frechet_samples']:.4g}", f"{row['frechet_real']:.4g}"]
        cells.append("-" if pd.isna(row["frechet_ratio"]) else f"{row['frechet_ratio']:.1f}")
        cells.append(f"{row['classes_seen']} of {row['classes']}")
        cells.append(f"{row['rarest']} of {row['samples_classified']}")
        cells.append(f"{100 * row['confidence']:.0f} [{100 * row['confidence_in_real']:.0f}]")
        cells.append(f"{row['judge']} ({100 * row['judge_accuracy']:.1f} %)")
        rows.append(cells)
    return f"{markdown(head, rows)}\n\n{NOTE}"


def write_samples_table(runs_dir: Path, name: str, table: pd.DataFrame) -> str:
    """Write the table to `tables/NAME-samples`; returns the text and its files."""
    text = as_markdown(table)
    stem = runs_dir / "tables" / f"{name}-samples"
    return f"{text}\nWritten: {write_table(stem, text, table.to_csv(index=False))}"

"""One overall table of a sweep for a spreadsheet: every cell with its accuracies on training,
validation and test images, choices, parameters and seconds; and two recommended cells.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.cells import cells
from analysis.frame import pretraining_seconds
from analysis.markdown import markdown
from analysis.tables import swept_columns
from birds.core.errors import UserError
from birds.core.home import install
from birds.core.store import write_atomically, write_text

SUFFIXES = (".md", ".csv", ".xlsx")
CHOICES = {  # column of the table: column of the record
    "model": "choice.encoder.options.model",
    "head": "choice.method.options.head.name",
    "head_layers": "choice.method.options.head.options.layers",
    "dropout": "choice.method.options.head.options.dropout",
    "epochs": "choice.training.epochs",
    "epochs_run": "epochs",
    "patience": "choice.training.patience",
    "learning_rate": "choice.training.lr",
    "batch": "choice.training.batch",
    "augmentation": "choice.training.augment",
    "device": "device_name",
}
PERCENT = ("train_accuracy", "valid_accuracy", "test_accuracy", "gap")


def overall(runs_dir: Path, sweep: str) -> pd.DataFrame:
    """One row per cell, the best validation accuracy first.

    Accuracies are fractions, means over seeds: on the labelled training images without
    augmentation, on validation images, and on test images with a 95 % interval. `gap` is training
    minus validation accuracy. Seconds are given for training, for pretraining, and for both.
    Choices that a cell does not have are empty; empty columns are left out.
    """
    table, runs = cells(runs_dir, sweep)
    runs = runs.assign(pretraining=pretraining_seconds(runs_dir, runs))
    swept = swept_columns(table)
    rows = []
    for cell in table.to_dict("records"):
        own = runs[runs["family"] == cell["family"]]
        row = {"split": cell["split"], "variant": cell["variant"]}
        row |= {name: cell[name] for name in swept}
        row |= {"seeds": cell["seeds"], "labelled": cell["labelled"]}
        for part in ("train", "valid", "test"):
            name = f"{part}_accuracy"
            row[name] = own[name].mean() if name in own else float("nan")
        row |= {"test_low": cell["accuracy_low"], "test_high": cell["accuracy_high"]}
        row["gap"] = row["train_accuracy"] - row["valid_accuracy"]
        for name, column in CHOICES.items():
            row[name] = own[column].iloc[0] if column in own else None
        row |= {"parameters": cell["parameters"], "trained": cell["parameters_trained"]}
        row["train_seconds"] = own["cost_seconds"].mean()
        row["pretraining_seconds"] = own["pretraining"].mean()
        row["seconds"] = row["train_seconds"] + row["pretraining_seconds"]
        rows.append(row)
    whole = pd.DataFrame(rows).dropna(axis="columns", how="all")
    return whole.sort_values("valid_accuracy", ascending=False, kind="stable", ignore_index=True)


def choices(table: pd.DataFrame) -> list[str]:
    """Two sentences: the cell with the best validation accuracy, and the cell with the smallest gap
    between training and validation. Test images are not used for the choice.
    """
    said = []
    known = table.dropna(subset=["valid_accuracy"])
    if len(known):
        best = known.iloc[0]
        said.append(
            f"Best on validation images: {_cell(table, best)} with {best['valid_accuracy']:.1%} "
            f"(test {best['test_accuracy']:.1%})."
        )
    if "gap" in known and known["gap"].notna().any():
        least = known.loc[known["gap"].abs().idxmin()]
        said.append(
            f"Smallest gap between training and validation: {_cell(table, least)} with "
            f"{100 * least['gap']:+.1f} points (validation {least['valid_accuracy']:.1%}, test "
            f"{least['test_accuracy']:.1%})."
        )
    return said


def _cell(table: pd.DataFrame, row: pd.Series) -> str:
    swept = list(table.columns)[2 : list(table.columns).index("seeds")]
    words = [f"{name.rpartition('.')[2]}={row[name]}" for name in swept if row[name]]
    return " ".join([f"{row['variant']} {row['split']}/{100 - row['split']}", *words])


def write_overall(runs_dir: Path, sweep: str, out: Path) -> list[str]:
    """Write the overall table to `out` as Markdown, CSV or a spreadsheet, by its suffix; returns
    the sentences of `choices`.

    Raises UserError for another suffix, and for .xlsx without openpyxl.
    """
    if out.suffix not in SUFFIXES:
        raise UserError(f"--out {out}: choose a name that ends in {' or '.join(SUFFIXES)}")
    table = overall(runs_dir, sweep)
    said = choices(table)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".csv":
        write_text(out, table.to_csv(index=False))
    elif out.suffix == ".md":
        text = markdown(list(table.columns), shown(table).to_numpy().tolist())
        write_text(out, "\n\n".join([text, *said]) + "\n")
    else:
        _write_sheets(out, table, said)
    return said


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text, with accuracies in per cent."""
    columns = {}
    for name in table.columns:
        values = table[name]
        if name in (*PERCENT, "test_low", "test_high"):
            columns[name] = values.map(lambda x: "-" if pd.isna(x) else f"{100 * x:.1f}")
        elif pd.api.types.is_float_dtype(values):
            columns[name] = values.map(lambda x: "-" if pd.isna(x) else f"{x:,.6g}")
        else:
            columns[name] = values.map(lambda x: "-" if x is None else str(x))
    return pd.DataFrame(columns)


def _write_sheets(out: Path, table: pd.DataFrame, said: list[str]) -> None:
    """Write a sheet with the table, with a frozen head, and a sheet with the choices."""
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise UserError(
            f"--out {out}: a spreadsheet needs the package openpyxl: {install('analysis')}, or "
            "choose a name that ends in .csv"
        ) from None

    def write(file: object) -> None:
        book: Any
        with pd.ExcelWriter(file, engine="openpyxl") as book:  # type: ignore[arg-type]
            table.to_excel(book, sheet_name="cells", index=False, freeze_panes=(1, 2))
            pd.DataFrame({"choice": said}).to_excel(book, sheet_name="choices", index=False)
            for sheet in book.sheets.values():
                _make_readable(sheet)

    write_atomically(out, write)


def _make_readable(sheet: object) -> None:
    """Fit the width of columns to their text, and format fractions as per cent."""
    for column in sheet.columns:  # type: ignore[attr-defined]
        head = str(column[0].value)
        longest = max(len(str(cell.value)) for cell in column)
        own = sheet.column_dimensions[column[0].column_letter]  # type: ignore[attr-defined]
        own.width = min(60, max(9, longest + 2))
        if head in (*PERCENT, "test_low", "test_high"):
            for cell in column[1:]:
                cell.number_format = "0.0%"

"""The study of a sweep: its parts, curves, errors and layers, and accuracy against parameters.

`study` builds sentences and tables from records alone. `birds study` writes them with the figures.
The page, the article and the notebook use the same functions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.cells import named_runs
from analysis.diagnosis import diagnosed
from analysis.error_tables import error_tables
from analysis.frame import BROKEN
from analysis.layers import read_layers
from analysis.markdown import markdown, write_table
from analysis.single_runs import best_run
from birds.core.spec import UserError
from birds.core.store import RunFolder, write_text

PARTS = {
    "labelled": "images_labelled",
    "unlabelled": "images_unlabelled",
    "validation": "images_valid",
    "test": "images_test",
}
TITLES = {
    "parts": "Sizes of the parts",
    "parameters": "Parameters and accuracies",
    "classes": "Classes with the most errors (share: recognised)",
    "pairs": "Most confused pairs (images: mean over seeds; share: of the true class)",
    "guesses": "Is the second guess right?",
    "layers": "Which layer separates the classes",
}
PERCENT = {
    *("share", "low", "high"),
    *("accuracy", "with_second", "truth_second", "truth_second_low", "truth_second_high"),
    *("hesitated", "sure_and_wrong"),
    *("probe", "probe_low", "probe_high"),
    *("train", "valid", "test"),
}


class Study(NamedTuple):
    """sentences: the findings. tables: by name. notices: what is missing."""

    sentences: list[str]
    tables: dict[str, pd.DataFrame]
    notices: list[str]


def study(runs_dir: Path, sweep: str) -> Study:
    """The study of a sweep, as far as its records allow.

    Raises UserError if the sweep does not exist or has no finished run.
    """
    runs = named_runs(runs_dir, sweep)
    tables = {"parts": parts_table(runs), "parameters": parameter_table(runs)}
    notices: list[str] = []
    try:
        tables |= error_tables(runs_dir, sweep)
    except UserError as refusal:
        notices.append(str(refusal))
    layers = layer_table(runs_dir, runs)
    if layers.empty:
        notices.append(f"no layers were explored yet; run birds study {sweep}")
    else:
        tables["layers"] = layers
    sentences = [*diagnoses(runs_dir, runs), *_confusions(tables), *_best_layers(layers)]
    return Study(sentences, tables, notices)


def parts_table(runs: pd.DataFrame) -> pd.DataFrame:
    """For each split, its parts with the number of images and their height, width and channels.

    Parts that are missing in the records are left out.
    """
    rows = []
    columns = ["split", "choice.labels_per_class", "choice.image.size", "choice.image.channels"]
    known = [name for name in columns if name in runs]
    for _, own in runs.groupby(known, dropna=False, sort=False):
        first = own.iloc[0]
        counted = {part: column for part, column in PARTS.items() if pd.notna(first.get(column))}
        for part, column in counted.items():
            side, channels = first["choice.image.size"], first["choice.image.channels"]
            row = {"split": first["split"], "part": part, "images": int(first[column])}
            row |= {"height": int(side), "width": int(side), "channels": int(channels)}
            row["classes"] = len(first["classes"])
            rows.append(row)
    return pd.DataFrame(rows)


def parameter_table(runs: pd.DataFrame) -> pd.DataFrame:
    """For each cell the parameters, the trained ones, and the accuracy in every part."""
    rows = []
    for (split, cell), own in runs.groupby(["split", "cell"], sort=False):
        first = own.iloc[0]
        row = {"split": split, "cell": cell}
        for name in ("parameters", "parameters_trained"):
            value = first.get(f"cost_{name}")
            row[name] = None if value is None or pd.isna(value) else int(value)
        for part in ("train", "valid", "test"):
            column = f"{part}_accuracy"
            row[part] = own[column].mean() if column in own else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)


def layer_table(runs_dir: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """One row for each layer of each run that `birds study` explored."""
    rows: list[dict[str, Any]] = []
    for run in runs.to_dict("records"):
        found = read_layers(RunFolder(runs_dir, run["key"]))
        about = {"split": run["split"], "cell": run["cell"], "seed": run["seed"]}
        rows += [about | one for one in found.rows] if found else []
    return pd.DataFrame(rows)


def read_curves(folder: RunFolder) -> pd.DataFrame | None:
    """A run's epochs; None if it has none."""
    try:
        epochs = pd.read_csv(folder.curves_file)
    except BROKEN:
        return None
    has_losses = {"train_loss", "valid_loss"} <= set(epochs.columns)
    return epochs if has_losses and epochs["valid_loss"].notna().any() else None


def diagnoses(runs_dir: Path, runs: pd.DataFrame) -> Iterator[str]:
    """A sentence for each cell, on its best run by validation accuracy."""
    for (split, cell), own in runs.groupby(["split", "cell"], sort=False):
        if own["valid_accuracy"].isna().all():
            continue
        best = best_run(own)
        found = diagnosed(best.to_dict(), read_curves(RunFolder(runs_dir, best["key"])))
        yield f"{cell} at {split}/{100 - split}, seed {best['seed']}: {found.sentence}."


def _confusions(tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    """A sentence for each cell: its two most frequent confusions, and its second guesses."""
    if "guesses" not in tables:
        return
    for row in tables["guesses"].to_dict("records"):
        pairs = tables["pairs"]
        own = pairs[(pairs["cell"] == row["cell"]) & (pairs["split"] == row["split"])].head(2)
        where = f"{row['cell']} at {row['split']}/{100 - row['split']}"
        if own.empty:
            yield f"{where}: no test image is classified wrongly."
            continue
        said = []
        for pair in own.to_dict("records"):
            ends = f"{pair['low']:.0%} to {pair['high']:.0%}"
            said.append(f"{pair['true']} for {pair['said']} ({pair['share']:.0%}, {ends})")
        rescued = f"the second guess is right in {row['truth_second']:.0%} of its errors"
        yield (
            f"{where}: most often it takes {' and '.join(said)}; {rescued}, so the class is among "
            f"two guesses in {row['with_second']:.1%}, against {row['accuracy']:.1%} with one."
        )


def _best_layers(layers: pd.DataFrame) -> Iterator[str]:
    if layers.empty:
        return
    for (split, cell), own in layers.groupby(["split", "cell"], sort=False):
        best = own.loc[own["probe"].idxmax()]
        last = own.iloc[-1]
        words = f"{cell} at {split}/{100 - split}: a linear probe is best in layer {best['layer']}"
        words += f" ({best['probe']:.1%}, {best['probe_low']:.1%} to {best['probe_high']:.1%})"
        if best["layer"] != last["layer"]:
            words += f"; the last layer, {last['layer']}, reaches {last['probe']:.1%}"
        yield f"{words}."


def shown_cell(name: str, value: Any) -> str:
    """A value of a table as text."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "-"
    if name in PERCENT:
        return f"{100 * value:.1f} %"
    if name == "split":
        return f"{value}/{100 - value}"
    if isinstance(value, float):
        return f"{value:.3g}" if value != round(value) else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def shown_table(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table as text."""
    rows = []
    for row in table.to_dict("records"):
        rows.append([shown_cell(str(name), value) for name, value in row.items()])
    return [str(name).replace("_", " ") for name in table.columns], rows


def write_study(runs_dir: Path, sweep: str, out: Path | None = None) -> Path:
    """Write a sweep's study into a folder (default: `RUNS_DIR/study/SWEEP`): study.md, one file per
    table, and the figures. Returns the folder.
    """
    from analysis import closeups  # figures need matplotlib, and the page of a sweep does not
    from analysis.drawing import save
    from analysis.study_figures import STUDY_FIGURES

    found = study(runs_dir, sweep)
    folder = out or runs_dir / "study" / sweep
    folder.mkdir(parents=True, exist_ok=True)
    text = [f"# Study of {sweep}", *(f"- {one}" for one in found.sentences)]
    for name, table in found.tables.items():
        shown = markdown(*shown_table(table))
        write_table(folder / name, shown, table.to_csv(index=False))
        text.append(f"## {TITLES[name]}\n\n{shown}")
    drawn = {**STUDY_FIGURES, **{name: closeups.FIGURES[name] for name in ("confusion", "errors")}}
    for name, draw in drawn.items():
        try:
            save(draw(runs_dir, sweep), folder / name)
            text.append(f"![{name}]({name}.png)")
        except UserError as refusal:
            text.append(f"Not drawn: {name}: {refusal}")
    text += [f"Missing: {notice}" for notice in found.notices]
    write_text(folder / "study.md", "\n\n".join(text) + "\n")
    return folder

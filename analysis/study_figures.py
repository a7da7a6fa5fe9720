"""The figures of a sweep's study: images per class, curves with the best epoch, layers, and
accuracy against the number of parameters.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.cells import named_runs
from analysis.frame import predictions, short, sweep_frame
from analysis.layer_pictures import layers_figure
from analysis.layers import Layers, read_layers
from analysis.palette import FAINT, OKABE_ITO, RIM, dot, explain, legend, line, look, named, panels
from analysis.single_runs import best_run, curves
from analysis.tables import sweep_table, swept_columns
from birds.core.letters import labels
from birds.core.spec import UserError
from birds.core.store import RunFolder

COUNTED = {"labelled": "labelled", "valid": "validation", "test": "test"}
SHADES = {"labelled": OKABE_ITO[1], "valid": OKABE_ITO[4], "test": FAINT}
MOST_NAMED = 60  # classes whose names fit on a chart
LONGEST_NAME = 24
MOST_RUNS = 6  # runs whose layers are drawn
MOST_CURVES = 12


def counts_by_class(runs_dir: Path, run: pd.Series) -> dict[str, list[int]]:
    """The number of images of each class in a run's parts: labelled, valid, test.

    If the record lacks it, the predictions give the numbers of validation and test images.
    """
    found = {}
    for part in COUNTED:
        counts = run.get(f"by_class_{part}")
        if isinstance(counts, list):
            found[part] = counts
    if found:
        return found
    for part in ("valid", "test"):
        saved = predictions(runs_dir, run["key"], f"{part}_label")
        if saved is not None:
            found[part] = np.bincount(saved[0], minlength=len(run["classes"])).tolist()
    return found


def classes_figure(counts: dict[str, list[int]], classes: list[str], title: str) -> Figure:
    """A bar of images by part for each class; many classes are drawn without names."""
    order = np.arange(len(classes))
    if len(classes) > MOST_NAMED:
        order = np.argsort(-np.sum(list(counts.values()), axis=0), kind="stable")
    tall = 1.2 + 0.19 * min(len(classes), MOST_NAMED)
    figure, [[axis]] = panels(1, 1, 6.4, tall)
    left = np.zeros(len(classes))
    for part, own in counts.items():
        width = np.array(own, float)[order]
        style: dict[str, Any] = {"color": SHADES[part], "edgecolor": RIM, "linewidth": 0.4}
        if len(classes) > MOST_NAMED:
            style |= {"linewidth": 0, "height": 1.0}
        axis.barh(np.arange(len(classes)), width, left=left, label=COUNTED[part], **style)
        left += width
    axis.set(xlabel="images", title=title, ylim=(len(classes) - 0.4, -0.6))
    if len(classes) <= MOST_NAMED:
        axis.set_yticks(range(len(classes)), labels(classes, LONGEST_NAME), fontsize=7)
    else:
        axis.set(ylabel=f"{len(classes)} classes, the largest first", yticks=[])
    legend(figure, [axis])
    return figure


def learning_figure(epochs: pd.DataFrame, title_of: dict[str, str]) -> Figure:
    """One row per run: losses on the left, accuracy on the right, with a mark at the best epoch.

    Args:
        epochs: the epochs of the runs, with key, variant and best_epoch.
        title_of: the title of each run, by its key.
    """
    figure, axes = panels(len(title_of), 2, 7.4, 0.7 + 2.1 * len(title_of))
    for [losses, accuracies], (key, title) in zip(axes, title_of.items(), strict=True):
        run = epochs[epochs["key"] == key]
        x, variant = run["epoch"] + 1, run["variant"].iloc[0]
        colour = look(variant).colour
        losses.plot(x, run["train_loss"], color=colour, linestyle=":", label="training (augmented)")
        losses.plot(x, run["valid_loss"], color=colour, **line(1.2), label="validation")
        losses.set(title=title, ylabel="loss")
        accuracies.plot(x, 100 * run["valid_accuracy"], color=colour, **line(1.2))
        accuracies.set(ylabel="accuracy, %")
        _mark_best(losses, accuracies, run, variant)
        for axis in (losses, accuracies):
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, [axes[0][0]])
    explain(
        figure, "right: accuracy on validation images; large marks and dashed lines: the kept epoch"
    )
    return figure


def _mark_best(losses: Axes, accuracies: Axes, run: pd.DataFrame, variant: str) -> None:
    """Mark the kept epoch in both panels, and write its accuracy in the title."""
    kept = run[run["epoch"] == run["best_epoch"]]
    if kept.empty:
        return
    epoch = int(kept["epoch"].iloc[0]) + 1
    accuracy = 100 * float(kept["valid_accuracy"].iloc[0])
    losses.plot([epoch], kept["valid_loss"], **dot(variant, 8))
    accuracies.plot([epoch], [accuracy], **dot(variant, 8))
    accuracies.set_title(f"kept epoch {epoch}: {accuracy:.1f} %")
    for axis in (losses, accuracies):
        axis.axvline(epoch, color="0.6", linewidth=0.8, linestyle="--", zorder=0)


def size_figure(table: pd.DataFrame) -> Figure:
    """Accuracy against parameters, one line per split and variant, with 95 % intervals.

    The text next to a dot gives the swept choices.
    """
    figure, [[axis]] = panels(1, 1, 6, 3.8)
    swept = [name for name in swept_columns(table) if table[name].nunique() > 1]
    for (split, variant), own in table.groupby(["split", "variant"], sort=False):
        own = own.sort_values("parameters")
        x, y = own["parameters"], 100 * own["accuracy"]
        axis.vlines(x, 100 * own["accuracy_low"], 100 * own["accuracy_high"], color=RIM, lw=1.1)
        axis.plot(
            x, y, label=f"{named(variant)} {split}/{100 - split}", **line(1.2), **dot(variant, 6)
        )
        for row in own.to_dict("records"):
            words = " ".join(f"{short(name)}={row[name]}" for name in swept if row[name])
            place = (row["parameters"], 100 * row["accuracy"])
            axis.annotate(words, place, (5, -9), textcoords="offset points", fontsize=6.5)
    axis.set(xscale="log", xlabel="parameters", ylabel="test accuracy, %")
    axis.margins(x=0.15)
    legend(figure, [axis])
    return figure


def _classes(runs_dir: Path, sweep: str) -> Figure:
    runs, _ = sweep_frame(runs_dir, sweep)
    run = runs.iloc[0]
    counts = counts_by_class(runs_dir, run)
    if not counts:
        raise UserError("no record has the number of images per class; run the sweep again")
    title = f"images of each class, split {run['split']}/{100 - run['split']}"
    return classes_figure(counts, list(run["classes"]), title)


def _learning(runs_dir: Path, sweep: str) -> Figure:
    """The curves of the best run of each split and variant by validation accuracy, at most 12."""
    runs = named_runs(runs_dir, sweep)
    epochs = curves(runs_dir, runs)
    usable = epochs.dropna(subset=["valid_loss"]) if "valid_loss" in epochs else epochs.head(0)
    titles: dict[str, str] = {}
    for (split, cell), own in runs.groupby(["split", "cell"], sort=False):
        trained = own[own["key"].isin(usable["key"])]
        if len(trained) and len(titles) < MOST_CURVES:
            best = best_run(trained)
            titles[best["key"]] = f"{named(cell)} {split}/{100 - split}, seed {best['seed']}"
    if not titles:
        raise UserError("no run has curves: heads that are fitted in one step have no epochs")
    return learning_figure(usable, titles)


def studied(runs_dir: Path, sweep: str) -> tuple[dict[str, Layers], dict[str, list[str]]]:
    """The layers of the sweep's runs that `birds study` explored, and their classes, by title."""
    found: dict[str, Layers] = {}
    classes: dict[str, list[str]] = {}
    for run in named_runs(runs_dir, sweep).to_dict("records"):
        layers = read_layers(RunFolder(runs_dir, run["key"]))
        words = f"{run['cell']} {run['split']}/{100 - run['split']}"
        if layers is not None and words not in found:
            found[words] = layers
            classes[words] = list(run["classes"])
    return found, classes


def _layers(runs_dir: Path, sweep: str) -> Figure:
    found, classes = studied(runs_dir, sweep)
    if not found:
        raise UserError(f"no layers of this sweep were explored; run birds study {sweep}")
    return layers_figure(dict(list(found.items())[:MOST_RUNS]), classes)


def beside_figure(runs_dir: Path, sweeps: list[str]) -> Figure:
    """The layers of the first explored run of each sweep, one sweep below the other."""
    together: dict[str, Layers] = {}
    classes: dict[str, list[str]] = {}
    for sweep in sweeps:
        found, own = studied(runs_dir, sweep)
        for words, layers in list(found.items())[:1]:
            together[f"{sweep}: {words}"] = layers
            classes[f"{sweep}: {words}"] = own[words]
    return layers_figure(together, classes)


def _size(runs_dir: Path, sweep: str) -> Figure:
    table, _ = sweep_table(runs_dir, sweep)
    known = table.dropna(subset=["parameters"])
    if known["parameters"].nunique() < 2:
        raise UserError("all networks have the same size; sweep it: encoder.width=0.25,0.5,1")
    return size_figure(known)


STUDY_FIGURES: dict[str, Callable[[Path, str], Figure]] = {
    "classes": _classes,
    "learning": _learning,
    "size": _size,
    "layers": _layers,
}

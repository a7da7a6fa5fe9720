"""Figures of single runs: training curves, errors, restored images and latent spaces.

If one run represents a sweep, it is the best on validation images, never on test images. Images are
read from the folder in the record; if they are missing, their places are grey.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from analysis.curve_panels import curves_figure as curves_figure
from analysis.errors import calibration_error as calibration_error
from analysis.errors import confused_pairs as confused_pairs
from analysis.errors import confusion_figure, errors_figure, reliability, reliability_figure
from analysis.errors import mistakes as mistakes
from analysis.frame import needed_records, sweep_frame
from analysis.palette import named, panels
from analysis.single_runs import best_run as best_run
from analysis.single_runs import curves as curves
from analysis.single_runs import predictions as predictions
from birds.core.spec import UserError
from birds.core.store import RunFolder
from birds.core.thumbnails import read_thumbnails

SPACES = 6
ACROSS = 8  # images in a row of restored ones
ABOUT_EPOCHS = (  # columns of `curves` that are not metrics
    *("epoch", "step", "lr", "seconds"),
    *("key", "variant", "split", "family", "best_epoch", "epochs_asked"),
)
ROWS = ("image", "shown", "restored", "without skips", "drawn from the prior")


def reconstructions_figure(
    pictures: dict[str, Image.Image], sides: dict[str, int] | None = None
) -> Figure:
    """The restored images of pretraining runs, one picture below the other.

    `birds.methods.pictures` describes the rows of a picture.

    Args:
        pictures: by name.
        sides: the width in pixels of an image in each picture; by default an eighth of the picture.
    """
    side = {name: image.width / ACROSS for name, image in pictures.items()} | (sides or {})
    heights = [image.height / side[name] for name, image in pictures.items()]
    figure, axes = panels(
        len(pictures), 1, 7.6, sum(heights) * 0.82 + 0.3 * len(pictures), height_ratios=heights
    )
    for [axis], (name, image) in zip(axes, pictures.items(), strict=True):
        is_full = round(image.width / side[name]) == ACROSS
        axis.imshow(image, aspect="auto" if is_full else "equal")
        count = round(image.height / side[name])
        places = [side[name] * (k + 0.5) for k in range(count)]
        axis.set_yticks(places, ROWS[:count], fontsize=7)
        axis.set(xticks=[], title=name)
        axis.grid(False)
    return figure


def _sweep(runs_dir: Path, sweep: str) -> pd.DataFrame:
    return sweep_frame(runs_dir, sweep)[0]


def _pretraining(runs_dir: Path, sweep: str) -> pd.DataFrame:
    """The pretraining runs of a sweep, with the name of the first variant that uses each."""
    records = _sweep(runs_dir, sweep)
    stands_on: dict[str, str] = {}
    for run in records.to_dict("records"):
        for key in run["needs_keys"]:
            stands_on.setdefault(key, run["variant"])
    if not stands_on:
        raise UserError("this sweep has no pretraining; run make sweep-exp1")
    pretraining = needed_records(runs_dir, records).rename(columns={"variant": "pretraining"})
    if pretraining.empty:
        raise UserError("the records of its pretraining are missing; run the sweep again")
    for run in pretraining.to_dict("records"):
        for key in run["needs_keys"]:
            stands_on.setdefault(key, stands_on.get(run["key"], run["pretraining"]))
    return pretraining.assign(variant=pretraining["key"].map(stands_on))


def _curves(runs_dir: Path, sweep: str) -> Figure:
    measured = {"valid_loss": "loss (dotted: training)", "valid_accuracy": "validation accuracy, %"}
    return curves_figure(curves(runs_dir, _sweep(runs_dir, sweep)), measured)


def _pretraining_curves(runs_dir: Path, sweep: str) -> Figure:
    epochs = curves(runs_dir, _pretraining(runs_dir, sweep))
    return curves_figure(epochs, pretraining_columns(epochs))


def pretraining_columns(epochs: pd.DataFrame) -> dict[str, str]:
    """The columns of the pretrainings' epochs to draw, with their titles: the validation loss if
    there is one, and the pretrainings' own measures.
    """
    measured = {}
    if "valid_loss" in epochs:
        measured["valid_loss"] = "loss (dotted: training)"
    for name in epochs.columns:
        is_own = name not in ABOUT_EPOCHS and not str(name).startswith(("train_", "valid_"))
        if is_own and not epochs[name].isna().all():
            measured[name] = str(name).replace("_", " ")
    return measured or {"train_loss": "training loss"}


def _confusion(runs_dir: Path, sweep: str) -> Figure:
    runs = _sweep(runs_dir, sweep)
    best = best_run(runs)
    own = runs[runs["family"] == best["family"]]
    cut = f"{best['split']}/{100 - best['split']}"
    title = f"{named(best['variant'])} {cut}, {len(own)} seed{'s' * (len(own) > 1)}"
    confusion = np.sum(own["test_confusion"].tolist(), axis=0)
    return confusion_figure(confusion, best["classes"], title)


def _reliability(runs_dir: Path, sweep: str) -> Figure:
    tables = {}
    for (split, variant), own in _sweep(runs_dir, sweep).groupby(["split", "variant"]):
        saved = [predictions(runs_dir, key) for key in own["key"]]
        logits = np.concatenate([one["logits"] for one in saved])
        label = np.concatenate([one["label"] for one in saved])
        tables[split, variant] = reliability(logits, label)
    return reliability_figure(tables)


def _errors(runs_dir: Path, sweep: str) -> Figure:
    best = best_run(_sweep(runs_dir, sweep))
    title = f"{named(best['variant'])} {best['split']}/{100 - best['split']} seed {best['seed']}"
    saved = predictions(runs_dir, best["key"])
    thumbnails = read_thumbnails(RunFolder(runs_dir, best["key"]).thumbnails_file)
    return errors_figure(saved, _root(best), title, thumbnails)


def _root(run: pd.Series) -> Path:
    """The folder of a run's images; a folder that does not exist if there is none."""
    return Path(run.get("runtime.data_root") or "no-folder")


def _reconstructions(runs_dir: Path, sweep: str) -> Figure:
    pictures: dict[str, Image.Image] = {}
    sides: dict[str, int] = {}
    for run in _pretraining(runs_dir, sweep).sort_values(["split", "seed"]).to_dict("records"):
        file = RunFolder(runs_dir, run["key"]).pictures / "reconstructions.png"
        name = f"{run['pretraining']} ({run['variant']}), {run['split']}/{100 - run['split']}"
        if file.exists() and name not in pictures:
            pictures[name] = Image.open(file)
            sides[name] = int(run["choice.image.size"])
    if not pictures:
        raise UserError("no pretraining of this sweep restores images; run make sweep-exp1")
    return reconstructions_figure(pictures, sides)


def _latent(runs_dir: Path, sweep: str) -> Figure:
    """The first seed of each kind of run that `birds latent` explored, few labels and pretraining
    first.
    """
    from analysis.latent_pictures import read_space, spaces_figure

    runs = _sweep(runs_dir, sweep)
    before = needed_records(runs_dir, runs)
    order = pd.concat([before, runs]).sort_values(
        ["split", "seed"], ascending=[False, True], kind="stable"
    )
    spaces: dict[str, Any] = {}
    for run in order.drop_duplicates("key").to_dict("records"):
        name = f"{run['variant']} {run['split']}/{100 - run['split']}"
        found = read_space(RunFolder(runs_dir, run["key"]).latent) if name not in spaces else None
        spaces |= {name: found} if found else {}
    if not spaces:
        raise UserError(f"no latent space of this sweep was explored; run birds latent {sweep}")
    return spaces_figure(dict(list(spaces.items())[:SPACES]), runs["classes"].iloc[0])


FIGURES: dict[str, Callable[[Path, str], Figure]] = {
    "curves": _curves,
    "pretraining": _pretraining_curves,
    "confusion": _confusion,
    "reliability": _reliability,
    "errors": _errors,
    "reconstructions": _reconstructions,
    "latent": _latent,
}

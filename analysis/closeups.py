"""Figures that look into runs: how they trained, where they err, what they restore, how their
features lie.

Where one run has to stand for a sweep, it is the best on validation photos, never on test photos.
Photos are looked for where the record says that they lay; on another machine their places stay
grey.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.special import softmax

from analysis import frame
from analysis.frame import sweep_frame
from analysis.palette import OKABE_ITO, RIM, dot, legend, line, look, panels
from birds.core.letters import labels
from birds.core.record import load_records
from birds.core.spec import UserError
from birds.core.store import RunFolder

BINS = 15  # of the reliability diagram: those of the record's calibration error
PAIRS = 12
PHOTOS = 6
LONGEST_NAME = 24  # letters of a species in these figures
SPACES = 6
ACROSS = 8  # photos in a row of restored ones, where there are so many
ROWS = ("photo", "shown", "restored", "without skips", "drawn from the prior")


def best_run(runs: pd.DataFrame) -> pd.Series:
    """The run with the best accuracy on validation photos."""
    return runs.loc[runs["valid_accuracy"].idxmax()]


def predictions(runs_dir: Path, key: str) -> dict[str, NDArray[Any]]:
    """What a run saved of its test photos: label, logits, photo, species. Raises UserError when it is
    lost.
    """
    saved = frame.predictions(runs_dir, key, "species", "test_label", "test_logits", "test_photo")
    if saved is None:
        raise UserError(
            f"the predictions of run {key} are lost; remove its record.json and ask again"
        )
    return dict(zip(("species", "label", "logits", "photo"), saved, strict=True))


def curves(runs_dir: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """The epochs of all runs, with each run's key, variant, split, best and last epoch. Raises
    UserError without any.
    """
    files = {run.key: RunFolder(runs_dir, run.key).curves_file for run in runs.itertuples()}
    found = [pd.read_csv(file).assign(key=key) for key, file in files.items() if file.exists()]
    if not found:
        raise UserError("no run left its curves")
    about = runs[["key", "variant", "split", "best_epoch", "choice.training.epochs"]]
    return pd.concat(found, ignore_index=True).merge(about, on="key")


def curves_figure(epochs: pd.DataFrame, measured: dict[str, str]) -> Figure:
    """A column for each split, a row for each measured column: one line a run.

    The large mark is the epoch whose weights were kept; a bar ends a training that stopped before
    its last epoch.
    """
    splits = sorted(epochs["split"].unique())
    size = (0.8 + 3.4 * len(splits), 0.8 + 2.2 * len(measured))
    figure, axes = panels(len(measured), len(splits), *size, sharex=True, sharey="row")
    for row, (column, title) in zip(axes, measured.items(), strict=True):
        row[0].set_ylabel(title)
        for axis, split in zip(row, splits, strict=True):
            for _, run in epochs[epochs["split"] == split].groupby("key", sort=False):
                _one_curve(axis, run, column)
            axis.set_title(f"{split}/{100 - split}" if row is axes[0] else "")
            axis.set_xlabel("epoch" if row is axes[-1] else "")
    legend(figure, [axis for row in axes for axis in row], columns=6)
    return figure


def _one_curve(axis: Axes, run: pd.DataFrame, column: str) -> None:
    variant, x = run["variant"].iloc[0], run["epoch"] + 1
    axis.plot(
        x,
        run[column],
        markevery=max(1, len(run) // 6),
        label=variant,
        **line(1.2),
        **dot(variant, 3.5),
    )
    if column == "valid_loss":
        axis.plot(x, run["train_loss"], color=look(variant).colour, linewidth=0.8, linestyle=":")
        axis.set_yscale("log")
    kept = run[run["epoch"] == run["best_epoch"]]
    axis.plot(kept["epoch"] + 1, kept[column], **dot(variant, 8))
    if len(run) < run["choice.training.epochs"].iloc[0]:
        axis.plot(x.iloc[-1:], run[column].iloc[-1:], "|", color=RIM, ms=12, mew=1.6)


def confused_pairs(
    confusion: NDArray[np.int64], species: list[str], most: int = PAIRS
) -> pd.DataFrame:
    """The pairs most often taken for each other: true, said, photos, share of the true species'
    photos.
    """
    wrong = confusion * (1 - np.eye(len(confusion), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    true, said = np.unravel_index(order, wrong.shape)
    pairs = pd.DataFrame(
        {
            "true": np.array(species)[true],
            "said": np.array(species)[said],
            "photos": wrong[true, said],
        }
    )
    return pairs.assign(share=pairs["photos"] / confusion.sum(1)[true]).query("photos > 0")


def confusion_figure(confusion: NDArray[np.int64], species: list[str], title: str) -> Figure:
    """Shares of each true species by what was said, and the most confused pairs beside them."""
    pairs = confused_pairs(confusion, species)
    figure, [[left, right]] = panels(1, 2, 9.6, 4.6, width_ratios=(1.15, 1))
    share = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = left.imshow(share, cmap="Greys", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, ax=left, label="% of the true species", shrink=0.8)
    left.set(xlabel="said", ylabel="true", title=title)
    left.grid(False)
    if len(species) <= 30:
        names = labels(species, LONGEST_NAME)
        left.set_xticks(range(len(species)), names, rotation=90, fontsize=6)
        left.set_yticks(range(len(species)), names, fontsize=6)
    right.barh(range(len(pairs)), pairs["photos"], color=OKABE_ITO[4], edgecolor=RIM, linewidth=0.6)
    short = dict(zip(species, labels(species, LONGEST_NAME), strict=True))
    words = [f"{short[p.true]} → {short[p.said]}" for p in pairs.itertuples()]
    right.set_yticks(range(len(pairs)), words, fontsize=7)
    right.set(xlabel="test photos", title="most confused: true → said")
    right.invert_yaxis()
    return figure


def reliability(
    logits: NDArray[np.float32], label: NDArray[np.int64], bins: int = BINS
) -> pd.DataFrame:
    """Confidence, accuracy and photos of each bin of equal width that holds photos (Guo et al.
    2017, 1706.04599).
    """
    probability = softmax(logits.astype(float), axis=1)
    confidence, right = probability.max(1), probability.argmax(1) == label
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = pd.DataFrame({"bin": place, "confidence": confidence, "accuracy": right}).groupby("bin")
    return rows.mean().assign(photos=rows.size()).reset_index(drop=True)


def calibration_error(bins: pd.DataFrame) -> float:
    """The expected calibration error of a reliability table, a fraction of 1."""
    return float(np.average((bins["accuracy"] - bins["confidence"]).abs(), weights=bins["photos"]))


def reliability_figure(tables: dict[tuple[int, str], pd.DataFrame]) -> Figure:
    """A panel for each split: how often a variant is right where it is so sure; dots grow with the
    number of photos.
    """
    splits = sorted({split for split, _ in tables})
    figure, axes = panels(1, len(splits), 0.8 + 3.2 * len(splits), 3.6, sharex=True, sharey=True)
    for axis, split in zip(axes[0], splits, strict=True):
        axis.plot([0, 100], [0, 100], color="0.5", linestyle=":", linewidth=1)
        for variant, bins in ((v, bins) for (s, v), bins in tables.items() if s == split):
            x, y, share = (
                100 * bins["confidence"],
                100 * bins["accuracy"],
                bins["photos"] / bins["photos"].sum(),
            )
            axis.plot(x, y, color=look(variant).colour, zorder=2, **line(1.2))
            shape: dict[str, Any] = {
                "c": [look(variant).colour],
                "marker": look(variant).marker,
                "edgecolors": RIM,
            }
            axis.scatter(
                x,
                y,
                6 + 90 * share,
                **shape,
                zorder=3,
                label=f"{variant}, ECE {100 * calibration_error(bins):.1f} %",
            )
        axis.set(
            title=f"{split}/{100 - split}",
            xlabel="confidence, %",
            xlim=(0, 100),
            ylim=(0, 100),
            aspect="equal",
        )
        axis.legend(fontsize=7, loc="upper left", frameon=False)
    axes[0][0].set_ylabel("right, %")
    return figure


def mistakes(logits: NDArray[np.float32], label: NDArray[np.int64]) -> pd.DataFrame:
    """The photos a model gets wrong: row, true, said, confidence, margin over the second, and place
    of the truth.
    """
    probability = softmax(logits.astype(float), axis=1)
    ranked = np.argsort(-probability, axis=1, kind="stable")
    sure = np.take_along_axis(probability, ranked[:, :2], axis=1)
    place = (ranked == label[:, None]).argmax(1) + 1
    frame = pd.DataFrame(
        {
            "row": np.arange(len(label)),
            "true": label,
            "said": ranked[:, 0],
            "confidence": sure[:, 0],
        }
    )
    return frame.assign(margin=sure[:, 0] - sure[:, 1], place=place)[place > 1].reset_index(
        drop=True
    )


def errors_figure(saved: dict[str, NDArray[Any]], root: Path, title: str) -> Figure:
    """Two rows of photos that were taken for another species: where the model hesitated, and where
    it was sure.
    """
    wrong = mistakes(saved["logits"], saved["label"])
    species = labels([str(name) for name in saved["species"]], LONGEST_NAME)
    if wrong.empty:
        raise UserError("the best run makes no mistake on the test photos")
    rows = {
        "hesitated": wrong.nsmallest(PHOTOS, "margin"),
        "sure": wrong.nlargest(PHOTOS, "confidence"),
    }
    figure, axes = panels(2, PHOTOS, 1.55 * PHOTOS, 4.4)
    for line_of, (name, shown) in zip(axes, rows.items(), strict=True):
        for axis in line_of:
            axis.set_axis_off()
        for axis, one in zip(line_of, shown.itertuples(), strict=False):
            axis.imshow(_photo(root / str(saved["photo"][one.row])))
            said = f"said {species[one.said]}\n{one.confidence:.0%}, ahead by {one.margin:.0%}"
            axis.set_title(f"{species[one.true]}\n{said}", fontsize=6.5)
        line_of[0].text(
            -0.08, 0.5, name, transform=line_of[0].transAxes, rotation=90, va="center", ha="right"
        )
    second, sure = (wrong["place"] == 2).mean(), (wrong["confidence"] > 0.8).mean()
    about = f"of {len(wrong)} mistakes in {len(saved['label'])}, {second:.0%} had the truth second, {sure:.0%} were sure"
    figure.suptitle(f"{title}: {about} (over 80 %)", fontsize=9)
    return figure


def _photo(path: Path, size: int = 128) -> Image.Image:
    """The middle of a photo, or a grey square where it is not on this machine."""
    try:
        with Image.open(path) as image:
            return ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), (size, size))
    except OSError:
        return Image.new("RGB", (size, size), "lightgrey")


def reconstructions_figure(
    pictures: dict[str, Image.Image], sides: dict[str, int] | None = None
) -> Figure:
    """The restored photos that pretraining runs saved, one under the other: see
    `birds.methods.pictures` for their rows.

    Args:
        pictures: by name.
        sides: how many pixels wide a photo in them is; an eighth of the picture where it is not
            given.
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
    """The pretraining runs of a sweep, under the name of the first variant that stands on each, by
    split and seed.
    """
    runs = (
        _sweep(runs_dir, sweep).dropna(subset=["pretrained_key"]).drop_duplicates("pretrained_key")
    )
    if runs.empty:
        raise UserError("nothing was pretrained in this sweep; make sweep-exp1")
    pretext = load_records(runs_dir, runs["pretrained_key"].tolist()).rename(
        columns={"variant": "pretext"}
    )
    if pretext.empty:
        raise UserError("the records of its pretraining are gone; ask for the sweep again")
    return pretext.merge(
        runs[["pretrained_key", "variant"]], left_on="key", right_on="pretrained_key"
    )


def _curves(runs_dir: Path, sweep: str) -> Figure:
    measured = {"valid_loss": "loss (dotted: training)", "valid_accuracy": "validation accuracy"}
    return curves_figure(curves(runs_dir, _sweep(runs_dir, sweep)), measured)


def _pretraining_curves(runs_dir: Path, sweep: str) -> Figure:
    return curves_figure(
        curves(runs_dir, _pretraining(runs_dir, sweep)), {"valid_loss": "loss (dotted: training)"}
    )


def _confusion(runs_dir: Path, sweep: str) -> Figure:
    runs = _sweep(runs_dir, sweep)
    best = best_run(runs)
    own = runs[runs["family"] == best["family"]]
    title = f"{best['variant']} {best['split']}/{100 - best['split']}, {len(own)} seed{'s' * (len(own) > 1)}"
    return confusion_figure(np.sum(own["test_confusion"].tolist(), axis=0), best["species"], title)


def _reliability(runs_dir: Path, sweep: str) -> Figure:
    tables = {}
    for (split, variant), own in _sweep(runs_dir, sweep).groupby(["split", "variant"]):
        saved = [predictions(runs_dir, key) for key in own["key"]]
        logits, label = (
            np.concatenate([one[name] for one in saved]) for name in ("logits", "label")
        )
        tables[split, variant] = reliability(logits, label)
    return reliability_figure(tables)


def _errors(runs_dir: Path, sweep: str) -> Figure:
    best = best_run(_sweep(runs_dir, sweep))
    title = f"{best['variant']} {best['split']}/{100 - best['split']} seed {best['seed']}"
    return errors_figure(predictions(runs_dir, best["key"]), Path(best["runtime.data_root"]), title)


def _reconstructions(runs_dir: Path, sweep: str) -> Figure:
    pictures: dict[str, Image.Image] = {}
    sides: dict[str, int] = {}
    for run in _pretraining(runs_dir, sweep).sort_values(["split", "seed"]).to_dict("records"):
        file = RunFolder(runs_dir, run["key"]).pictures / "reconstructions.png"
        name = f"{run['pretext']} ({run['variant']}), {run['split']}/{100 - run['split']}"
        if file.exists() and name not in pictures:
            pictures[name] = Image.open(file)
            sides[name] = int(run["choice.data.size"])
    if not pictures:
        raise UserError("no pretraining of this sweep restores photos; make sweep-exp1")
    return reconstructions_figure(pictures, sides)


def _latent(runs_dir: Path, sweep: str) -> Figure:
    """The first seed of each kind of run that `birds latent` explored, few labels and pretraining
    first.
    """
    from analysis.latent_pictures import read_space, spaces_figure

    runs = _sweep(runs_dir, sweep)
    before = load_records(runs_dir, sorted(set(runs["pretrained_key"].dropna())))
    order = pd.concat([before, runs]).sort_values(
        ["split", "seed"], ascending=[False, True], kind="stable"
    )
    spaces: dict[str, Any] = {}
    for run in order.drop_duplicates("key").to_dict("records"):
        name = f"{run['variant']} {run['split']}/{100 - run['split']}"
        found = read_space(RunFolder(runs_dir, run["key"]).latent) if name not in spaces else None
        spaces |= {name: found} if found else {}
    if not spaces:
        raise UserError(f"no latent space of it was explored; birds latent {sweep}")
    return spaces_figure(dict(list(spaces.items())[:SPACES]), runs["species"].iloc[0])


FIGURES: dict[str, Callable[[Path, str], Figure]] = {
    "curves": _curves,
    "pretraining": _pretraining_curves,
    "confusion": _confusion,
    "reliability": _reliability,
    "errors": _errors,
    "reconstructions": _reconstructions,
    "latent": _latent,
}

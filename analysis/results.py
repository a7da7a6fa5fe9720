"""Runs on real images, kept as one line each, so that seeds add up over machines and sittings.

    python -m analysis.results                 # cells with intervals, and each against its A
    python -m analysis.results add RUNS_DIR    # adds its finished classifiers to the kept lines

The lines stand in `docs/results/runs.csv`, whose columns have the names of recipe 3, under which
most of them were measured: a species is a class, a photo an image, a pretext a pretraining. Runs of
another recipe are other cells and are never compared with them.

A cell is a variant with a number of classes, split, recipe and precision. A line has these choices,
metrics, and whether each test image was told: a bit for every level of noise and image, as
hexadecimal digits. `gpu` is its name, nothing where a CPU trained: a key does not know the device,
but its numbers differ, so gaps are between runs of one. `epochs` are those of the pretraining
(where 60 or 100, in batches of 128), `min_steps` the classifier's least steps an epoch. Other
choices stand at their defaults: a run with another `lr_decay`, say, would take the place of its
cell's run of that seed, so it does not belong here. Test images are the same for all seeds, in the
order of their rows. Gaps are to A of the same and of other numbers of steps, and to what else the
variant's YAML names, paired by seed and image; verdicts, with p values adjusted for a family, are
`birds table`'s.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frame import noisy_hits
from analysis.statistics import crossed
from analysis.variants import REFERENCE, variant
from birds.core.record import load_records

FILE = Path(__file__).resolve().parents[1] / "docs" / "results" / "runs.csv"
CHOICES = {  # column of the file -> column of the record
    "species": "choice.data.classes",
    "split": "split",
    "recipe": "recipe",
    "precision": "precision",
    "gpu": "gpu",
    "variant": "variant",
    "encoder": "choice.encoder.name",
    "size": "choice.image.size",
    "head": "choice.method.options.head.name",
    "pretext": "choice.needs.variant",
    "noise": "choice.needs.method.options.noise",
    "skips": "choice.needs.method.options.skips",
    "pool": "choice.needs.pool.name",
    "epochs": "choice.needs.training.epochs",
    "norm": "choice.encoder.options.norm",
    "widths": "choice.encoder.options.widths",
    "best_from": "choice.training.best_from",
    "min_steps": "choice.training.min_steps",
}
MIXED_NEVER = (
    "species",
    "split",
    "recipe",
    "precision",
    "gpu",
    "encoder",
    "size",
    "norm",
    "widths",
)
ALIKE = ("best_from", "min_steps")  # must be equal for the other references that a YAML names
ALIKE_IF_ANY = ("pool", "epochs", "head")  # these, too, if both have a value
COUNTS = {"photos_labelled": "images_labelled", "photos_test": "images_test"}
KEPT = {"seed": "seed", "data_digest": "data_digest", **COUNTS}
METRICS = ["test_accuracy", "test_macro_f1", "valid_accuracy"]
Cells = dict[tuple[Any, ...], pd.Series]  # for each cell, its rows by seed


def add(runs_dir: Path, file: Path = FILE) -> None:
    """Append the finished classifiers of a runs folder to the file, if they were tested under
    noise on all test images (robustness_images=null).

    A run replaces an earlier one with the same choices and seed. Says how many were left out.
    """
    found = load_records(runs_dir)
    found["gpu"] = found["device_name"].where(found["device"].str.startswith("cuda"))
    rows, left_out = [], 0
    for record in found[found["stage"] == "classify"].to_dict("records"):
        saved = noisy_hits(runs_dir, record["key"])
        if saved is not None and len(saved[1]) == record["images_test"]:
            rows.append(_line(record, saved[1]))
        else:
            left_out += 1
    known = pd.read_csv(file, dtype={"key": str}) if file.exists() else pd.DataFrame()
    both = pd.concat([known, pd.DataFrame(rows)])
    both = both.reindex(columns=["key", *CHOICES, *KEPT, *METRICS, "hits"])
    both = both.drop_duplicates([*CHOICES, "seed"], keep="last")
    for name in ("epochs", "min_steps", "size"):
        both[name] = both[name].astype("Int64")
    both.sort_values([*CHOICES, "seed"], na_position="first").to_csv(file, index=False)
    if left_out:
        print(
            f"Left out: {left_out} classifiers that were not tested under noise on all test "
            "images; train them with robustness_images=null"
        )


def _line(record: Mapping[Any, Any], hits: NDArray[np.bool_]) -> dict[str, Any]:
    """A run as one line of the file."""
    line: dict[str, Any] = {"key": record["key"]}
    line |= {name: record.get(column) for name, column in CHOICES.items()}
    widths = line["widths"]
    line["widths"] = "-".join(map(str, widths)) if isinstance(widths, list) else None
    line |= {name: record[column] for name, column in KEPT.items()}
    line |= {name: round(record[name], 6) for name in METRICS}
    return line | {"hits": np.packbits(hits).tobytes().hex()}


def hits(row: Any) -> NDArray[np.bool_]:
    """Correct or not, for each test image and each level of noise: (images, levels)."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(row.hits), np.uint8))
    levels = len(bits) // row.photos_test
    return bits[: levels * row.photos_test].reshape(row.photos_test, levels).astype(bool)


def show(file: Path = FILE) -> None:
    """Print the cells, then the gap of each to A of the same split, on clean images and under
    noise.
    """
    runs = pd.read_csv(file, dtype={"key": str})
    if runs.groupby("species")["data_digest"].nunique().max() > 1:
        raise SystemExit(f"{file.name} mixes images")
    runs = runs.reindex(columns=[*dict.fromkeys([*runs.columns, *CHOICES])])
    runs[list(CHOICES)] = runs[list(CHOICES)].astype(object).fillna("")
    told = {row.Index: hits(row) for row in runs.itertuples()}
    cells: Cells = {}
    for name, own in runs.groupby(list(CHOICES), sort=False):
        cells[name] = pd.Series(own.index, index=own["seed"])
    for name, rows in cells.items():
        choices = [str(word) for word in name[3:] if word != ""]
        line = f"{name[0]} species, split {name[1]}, recipe {name[2]}: {' '.join(choices)}"
        values = np.array([told[place] for place in rows], float)
        valid = 100 * runs.loc[rows, "valid_accuracy"].mean()
        print(f"{line}: {len(rows)} seeds, {_both(values, cell=True)}; validation {valid:.1f}")
        for gap in _gaps(name, cells, told):
            print(f"    minus {gap}")


def _gaps(
    name: tuple[Any, ...], cells: Cells, told: Mapping[Any, NDArray[np.bool_]]
) -> Iterator[str]:
    """The gap of a cell to each of its references, over the seeds that both have."""
    rows = cells[name]
    for other, theirs in cells.items():
        seeds = sorted(set(rows.index) & set(theirs.index))
        if not is_reference(other, name) or len(seeds) < 2:
            continue
        mine = np.array([told[rows[seed]] for seed in seeds], float)
        gap = mine - np.array([told[theirs[seed]] for seed in seeds], float)
        choices = dict(zip(CHOICES, other, strict=True))
        which = f"{choices['variant']} of {choices['min_steps']} steps, {len(seeds)} seeds"
        yield f"{which}: {_both(gap, cell=False)}"


def is_reference(other: tuple[Any, ...], own: tuple[Any, ...]) -> bool:
    """Whether the gap of the cell `own` to the cell `other` is printed.

    The references are A with any number of steps (for A itself, A with fewer), and the variants
    that the own variant's YAML names, if the other choices are equal.
    """
    theirs = dict(zip(CHOICES, other, strict=True))
    mine = dict(zip(CHOICES, own, strict=True))
    if any(theirs[name] != mine[name] for name in MIXED_NEVER):
        return False
    if theirs["variant"] == REFERENCE:
        return bool(mine["variant"] != REFERENCE or mine["min_steps"] > theirs["min_steps"])
    named = {against.variant for against in variant(mine["variant"]).against}
    if theirs["variant"] not in named or any(mine[name] != theirs[name] for name in ALIKE):
        return False
    return all("" in (mine[n], theirs[n]) or mine[n] == theirs[n] for n in ALIKE_IF_ANY)


def _both(values: NDArray[np.float64], *, cell: bool) -> str:
    """The result on clean images and the mean over levels of noise, in words."""
    clean, noisy = values[:, :, 0], values[:, :, 1:].mean(2)
    return f"{shown(clean, cell=cell)}; under noise {shown(noisy, cell=cell)}"


def shown(values: NDArray[np.float64], *, cell: bool) -> str:
    """A mean over seeds and images in per cent with its 95 % interval."""
    mean = 100 * values.mean()
    if len(values) < 2:
        return f"{mean:.1f}"
    found = crossed(values)
    half = 100 * float(found.satterthwaite() if cell else found.half_width())
    sign = "" if cell else "+"
    return f"{mean:{sign}.1f} [{mean - half:{sign}.1f}, {mean + half:{sign}.1f}]"


def act(about: str | None, add: Callable[[Path], object], show: Callable[[], object]) -> None:
    """The command line of both programs of kept results: `add RUNS_DIR`, then `show`."""
    command = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("what", nargs="?", choices=["show", "add"], default="show")
    command.add_argument("runs_dir", nargs="?", type=Path)
    asked = command.parse_args()
    if asked.what == "add":
        if asked.runs_dir is None:
            command.error("add which runs? give their folder: add RUNS_DIR")
        add(asked.runs_dir)
    show()


if __name__ == "__main__":
    act(__doc__, add, show)

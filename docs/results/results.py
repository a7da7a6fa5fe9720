"""Runs on real photos, kept as one line each, so that seeds add up over machines and sittings.

    python docs/results/results.py                     # cells with intervals, and each against its
    A python docs/results/results.py add RUNS_DIR        # adds its finished classifiers to runs.csv

A cell is a variant with a number of species, split, recipe and precision. A line has these choices,
metrics, and whether each test photo was told: a bit for every level of noise and photo
(`birds.methods.classify.robustness`), as hexadecimal digits. `gpu` is its name, nothing where a CPU
trained: a key does not know the device, but its numbers differ, so gaps are between runs of one.
`epochs` are those of the pretraining (where 60 or 100, in batches of 128), `min_steps` the
classifier's least steps an epoch. Other choices stand at their defaults: a run with another
`lr_decay`, say, would take the place of its cell's run of that seed, so it does not belong here.
Test photos are the same for all seeds, in the order of their rows. Gaps are to A of the same and of
other numbers of steps, B1's to its B0, too, paired by seed and photo; verdicts, with p values
adjusted for a family, are `birds table`'s.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frame import predictions
from analysis.statistics import crossed
from birds.core.record import load_records

FILE = Path(__file__).with_name("runs.csv")
CHOICES = {
    "species": "choice.data.species",
    "split": "split",
    "recipe": "recipe",
    "precision": "precision",
    "gpu": "gpu",
    "variant": "variant",
    "pretext": "choice.pretrained.pretext.name",
    "noise": "choice.pretrained.pretext.options.noise",
    "skips": "choice.pretrained.skips",
    "pool": "choice.pretrained.pool.name",
    "epochs": "choice.pretrained.training.epochs",
    "norm": "choice.encoder.norm",
    "widths": "choice.encoder.widths",
    "best_from": "choice.training.best_from",
    "min_steps": "choice.training.min_steps",
}
VARIANT = list(CHOICES).index("variant")
KEPT = ["seed", "data_digest", "photos_labelled", "photos_test"]
METRICS = ["test_accuracy", "test_macro_f1", "valid_accuracy"]


def add(runs_dir: Path) -> None:
    """Append the finished classifiers of a runs folder that are not there yet."""
    found = load_records(runs_dir)
    found["gpu"] = found["device_name"].where(found["device"].str.startswith("cuda"))
    rows = []
    for record in found[found["stage"] == "classify"].to_dict("records"):
        saved = predictions(runs_dir, record["key"], "test_hits_noise")
        if saved is not None:
            about: dict[str, Any] = {"key": record["key"]}
            about |= {name: record.get(column) for name, column in CHOICES.items()}
            about["widths"] = "-".join(map(str, about["widths"]))
            about |= {name: record[name] for name in KEPT} | {
                name: round(record[name], 6) for name in METRICS
            }
            rows.append(about | {"hits": np.packbits(saved[0]).tobytes().hex()})
    known = pd.read_csv(FILE, dtype={"key": str}) if FILE.exists() else pd.DataFrame()
    both = (
        pd.concat([known, pd.DataFrame(rows)])
        .reindex(columns=["key", *CHOICES, *KEPT, *METRICS, "hits"])
        .drop_duplicates([*CHOICES, "seed"], keep="last")
    )
    both[["epochs", "min_steps"]] = both[["epochs", "min_steps"]].astype("Int64")
    both.sort_values([*CHOICES, "seed"], na_position="first").to_csv(FILE, index=False)


def hits(row: Any) -> NDArray[np.bool_]:
    """Whether each test photo was told at each level of noise, (photos, levels)."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(row.hits), np.uint8))
    levels = len(bits) // row.photos_test
    return bits[: levels * row.photos_test].reshape(row.photos_test, levels).astype(bool)


def show() -> None:
    """Print the cells, then what each says against A of the same split, on clean photos and under
    noise.
    """
    runs = pd.read_csv(FILE, dtype={"key": str})
    if runs.groupby("species")["data_digest"].nunique().max() > 1:
        raise SystemExit("runs.csv mixes photos")
    runs[list(CHOICES)] = runs[list(CHOICES)].astype(object).fillna("")
    told = {row.Index: hits(row) for row in runs.itertuples()}
    cells = {
        name: pd.Series(own.index, index=own["seed"])
        for name, own in runs.groupby(list(CHOICES), sort=False)
    }
    for name, keys in cells.items():
        values = np.array([told[place] for place in keys], float)
        line = " ".join(
            str(word)
            for word in (f"{name[0]} species, split {name[1]}, recipe {name[2]}:", *name[3:])
            if word != ""
        )
        clean, noisy = shown(values[:, :, 0], cell=True), shown(values[:, :, 1:].mean(2), cell=True)
        valid = 100 * runs.loc[keys, "valid_accuracy"].mean()
        print(f"{line}: {len(keys)} seeds, {clean}; under noise {noisy}; validation {valid:.1f}")
        for other, theirs in cells.items():
            seeds = sorted(set(keys.index) & set(theirs.index))
            if is_reference(other, name) and len(seeds) > 1:
                two = [
                    np.array([told[side[seed]] for seed in seeds], float) for side in (keys, theirs)
                ]
                gap = two[0] - two[1]
                clean, noisy = (
                    shown(gap[:, :, 0], cell=False),
                    shown(gap[:, :, 1:].mean(2), cell=False),
                )
                about = f"{other[VARIANT]} of {other[-1]} steps, {len(seeds)} seeds"
                print(f"    minus {about}: {clean}; under noise {noisy}")


def is_reference(other: Any, own: Any) -> bool:
    """Whether a cell's gap to another is printed: to A of any number of steps (A's to fewer), B1's
    to its B0.
    """
    theirs, mine = dict(zip(CHOICES, other, strict=True)), dict(zip(CHOICES, own, strict=True))
    if any(
        theirs[name] != mine[name]
        for name in ("species", "split", "recipe", "precision", "gpu", "norm", "widths")
    ):
        return False
    if (mine["variant"], theirs["variant"]) == ("B1", "B0"):
        return all(mine[name] == theirs[name] for name in ("best_from", "min_steps"))
    return bool(
        theirs["variant"] == "A"
        and (mine["variant"] != "A" or mine["min_steps"] > theirs["min_steps"])
    )


def shown(values: NDArray[np.float64], *, cell: bool) -> str:
    """A mean over seeds and photos in per cent with its 95 % interval."""
    mean = 100 * values.mean()
    if len(values) < 2:
        return f"{mean:.1f}"
    found = crossed(values)
    half = 100 * float(found.satterthwaite() if cell else found.half_width())
    return (
        f"{mean:.1f} [{mean - half:.1f}, {mean + half:.1f}]"
        if cell
        else f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"
    )


if __name__ == "__main__":
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("what", nargs="?", choices=["show", "add"], default="show")
    command.add_argument("runs_dir", nargs="?", type=Path)
    asked = command.parse_args()
    if asked.what == "add":
        add(asked.runs_dir)
    show()

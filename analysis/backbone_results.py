"""Runs on top of pretrained weights, kept as one line each in `docs/results/backbones.csv`.

    python -m analysis.backbone_results               # accuracies, each beside Logistic
    python -m analysis.backbone_results add RUNS_DIR  # adds its classifiers of 20 classes

A cell is a method (a variant and, for Logistic, its penalty) on one network with one number of
labels. Networks are frozen (224 pixels) or trained further (160 pixels). `hits` holds whether each
test image was told, as in `analysis.results`. Gaps are to Logistic on the same network and labels,
paired by seed and test image.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frame import predictions
from analysis.results import act, hits, shown
from birds.core.record import load_records

FILE = Path(__file__).resolve().parents[1] / "docs" / "results" / "backbones.csv"
CELL = ("network", "photos_labelled", "variant", "C")
COLUMNS = {  # column of the file -> column of the record
    "network": "choice.encoder.options.model",
    "photos_labelled": "images_labelled",
    "variant": "variant",
    "C": "choice.method.options.head.options.C",
    "seed": "seed",
    "recipe": "recipe",
    "weights": "choice.encoder.options.weights",
    "data_digest": "data_digest",
    "photos_test": "images_test",
    "test_accuracy": "test_accuracy",
    "valid_accuracy": "valid_accuracy",
}
CLASSES = 20
ALONE = "Logistic"
BySeed = dict[int, NDArray[np.float64]]  # 1 for each test image that a run told, else 0


def add(runs_dir: Path, file: Path = FILE) -> None:
    """Append the finished classifiers that are frozen or stand on weights and are not in the file
    yet.
    """
    found = load_records(runs_dir)
    own = found["choice.method.options.train"] == "head"
    if COLUMNS["weights"] in found:
        own |= found[COLUMNS["weights"]].fillna("none") != "none"
    wanted = (found["stage"] == "classify") & (found["choice.data.classes"] == CLASSES) & own
    rows = []
    for record in found[wanted].to_dict("records"):
        saved = predictions(runs_dir, record["key"], "test_logits", "test_label")
        if saved is not None:
            told = np.packbits(saved[0].argmax(1) == saved[1]).tobytes().hex()
            kept = {name: record.get(column) for name, column in COLUMNS.items()}
            rows.append({"key": record["key"], **kept, "hits": told})
    known = load(file) if file.exists() else pd.DataFrame()
    both = pd.concat([known, pd.DataFrame(rows)])[["key", *COLUMNS, "hits"]]
    both["C"] = both["C"].fillna("").astype(str)
    both = both.drop_duplicates("key").sort_values([*CELL, "seed"])
    both.to_csv(file, index=False, float_format="%.6f")


def load(file: Path = FILE) -> pd.DataFrame:
    """The lines of the file. `C` is text, empty for a method without such a penalty."""
    return pd.read_csv(file, dtype={"key": str, "C": str}, keep_default_na=False)


def told(runs: pd.DataFrame, network: str, labels: int, variant: str, penalty: str = "1.0") -> Any:
    """Correct or not, 1 or 0, for each seed in order and each test image: (seeds, images).

    `penalty` is the column C; methods without one ignore it. Raises KeyError if there is no such
    run.
    """
    return np.array(list(by_seed(runs, network, labels, variant, penalty).values()))


def paired(one: BySeed, other: BySeed) -> NDArray[np.float64]:
    """The differences one - other by seed and image, over the seeds that both have."""
    return np.array([one[seed] - other[seed] for seed in sorted(set(one) & set(other))])


def by_seed(
    runs: pd.DataFrame, network: str, labels: int, variant: str, penalty: str = "1.0"
) -> BySeed:
    """What `told` returns, by seed."""
    own = (runs["network"] == network) & (runs["photos_labelled"] == labels)
    own &= (runs["variant"] == variant) & runs["C"].isin([penalty, ""])
    rows = runs[own].sort_values("seed")
    if rows.empty:
        raise KeyError((network, labels, variant, penalty))
    return {int(row["seed"]): _first_level(row) for _, row in rows.iterrows()}


def _first_level(row: pd.Series) -> NDArray[np.float64]:
    return hits(row)[:, 0].astype(float)


def show(file: Path = FILE) -> None:
    """Print every cell with its interval, and its gap to Logistic."""
    runs = load(file)
    for (network, labels, variant, penalty), _ in runs.groupby(list(CELL)):
        seeds = by_seed(runs, network, labels, variant, penalty)
        own = np.array(list(seeds.values()))
        line = f"{network}, {labels} labels, {variant} {penalty}".rstrip()
        gap = paired(seeds, by_seed(runs, network, labels, ALONE))
        beside = f"; minus {ALONE} {shown(gap, cell=False)}" if gap.any() else ""
        print(f"{line}: {len(own)} seeds, {shown(own, cell=True)}{beside}")


if __name__ == "__main__":
    act(__doc__, add, show)

"""One table of every way of learning that was measured with 60 labels of 20 species, and one with
180.

    python -m analysis.every_way

They are made from the kept lines of `docs/results` and stand in its README.md. Each row is compared
with the best head on frozen features that reads labels alone, paired by seed and test photo. That
head is the one with the highest validation accuracy. The p values are adjusted for all rows of a
table (Holm).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from analysis import statistics
from analysis.backbone_results import BySeed, by_seed, load, paired
from analysis.markdown import markdown
from analysis.readme_figure import NETWORKS, small_network
from analysis.results import shown
from analysis.variants import variant
from analysis.verdicts import Verdict, outcome, p_words

SPLITS = {60: 90, 180: 70}  # labels -> per cent of the training photos whose labels are hidden
ALONE = ("KNN", "SVM", "Logistic", "ClassMeans")  # heads that read only labelled photos
SMALL = ("A", "B2", "DAE", "FixMatch")
ON_WEIGHTS = (
    *ALONE,
    *("LabelSpreading", "Prototypes", "SelfTraining"),
    *("FineTuned", "FineTunedAugmented", "FixMatch", "SimCLR", "DAE"),
)
HEADS = ("network", "method", "seeds", "accuracy %", "minus best alone", "p", "verdict")


class Way(NamedTuple):
    """A way of learning; `told` is, by seed, 1 for each test photo that it told, else 0."""

    network: str
    variant: str
    told: BySeed


def ways(labels: int) -> Iterator[Way]:
    """Every way with runs of so many labels, those without weights first."""
    for name in SMALL:
        own = small_network(name, SPLITS[labels])
        yield Way("U-Net, random weights", name, dict(enumerate(own)))
    runs = load()
    runs = runs[runs["photos_labelled"] == labels]
    for network, named in NETWORKS.items():
        for name in ON_WEIGHTS:
            if ((runs["network"] == network) & (runs["variant"] == name)).any():
                yield Way(named, name, by_seed(runs, network, labels, name))


def best_alone(labels: int) -> tuple[str, str]:
    """The network and the head with the highest validation accuracy among those of ALONE."""
    runs = load()
    own = runs[(runs["photos_labelled"] == labels) & runs["variant"].isin(ALONE)]
    own = own[own["network"].isin(NETWORKS) & own["C"].isin(["1.0", ""])]
    found = own.groupby(["network", "variant"])["valid_accuracy"].mean().idxmax()
    return str(found[0]), str(found[1])


def table(labels: int) -> str:
    """The table for so many labels as Markdown."""
    network, head = best_alone(labels)
    reference = by_seed(load(), network, labels, head)
    rows = list(ways(labels))
    gaps = [paired(way.told, reference) for way in rows]
    found = [statistics.crossed(gap) for gap in gaps]
    p = [
        float(one.p_value()) if gap.any() else np.nan for one, gap in zip(found, gaps, strict=True)
    ]
    adjusted = statistics.holm(np.array(p))
    compared = int(np.isfinite(adjusted).sum())
    cells = []
    for way, gap, one, q in zip(rows, gaps, found, adjusted, strict=True):
        line = [
            way.network,
            variant(way.variant).named(),
            str(len(way.told)),
            shown(np.array(list(way.told.values())), cell=True),
        ]
        beside = (
            [shown(gap, cell=False), p_words(q), _verdict(one, q, compared)]
            if gap.any()
            else [""] * 3
        )
        cells.append([*line, *beside])
    return markdown(HEADS, cells)


def _verdict(gap: statistics.Crossed, p: float, compared: int) -> str:
    """The verdict in the words of `birds table`."""
    mean, half = float(gap.mean), float(gap.half_width())
    word = "cannot tell" if p > statistics.ALPHA else "supported" if mean > 0 else "refuted"
    same = word == "cannot tell" and bool(statistics.equivalent(gap))
    verdict = Verdict({}, word, mean, mean - half, mean + half, None, compared=compared)
    return outcome(verdict._replace(equivalent=same))


if __name__ == "__main__":
    for labels in SPLITS:
        network, head = best_alone(labels)
        print(f"{labels} labels. The best alone is {head} on {NETWORKS[network]}.\n")
        print(f"{table(labels)}\n")

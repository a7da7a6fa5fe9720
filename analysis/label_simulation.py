"""Reports the simulation that compares chosen images to label with random ones."""

from typing import Any

import numpy as np

from analysis.markdown import markdown
from analysis.statistics import crossed


def simulation_words(found: Any) -> str:
    """A table and a sentence on a simulation (`labels`, and `right` (2, R, S, N): chosen, random).

    The gap of each round is paired over seeds and test images; the verdict is on their mean.
    """
    rows = []
    for k, labels in enumerate(found.labels):
        chosen, drawn = (100 * found.right[way, k].mean() for way in (0, 1))
        gap = crossed(found.right[0, k] - found.right[1, k])
        mean, half = 100 * float(gap.mean), 100 * float(gap.half_width())
        shown = "" if k == 0 else f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"
        rows.append([str(labels), f"{chosen:.1f}", f"{drawn:.1f}", shown])
    table = markdown(["labels in total", "chosen %", "random %", "gap"], rows)
    later = np.array(found.right[0, 1:] - found.right[1, 1:])
    gap = crossed(later.mean(0))
    mean, half = 100 * float(gap.mean), 100 * float(gap.half_width())
    ends = f"{mean:+.1f} points [{mean - half:+.1f}, {mean + half:+.1f}]"
    if mean - half > 0:
        verdict = f"Choosing is better than a random choice: {ends}"
    elif mean + half < 0:
        verdict = f"Choosing is worse than a random choice: {ends}"
    else:
        verdict = f"No difference is shown between choosing and a random choice: {ends}"
    seeds, images = found.right.shape[2:]
    return (
        f"{table}\n\n{verdict}, on average over the rounds ({seeds} seeds crossed with {images} "
        "test images; known labels are revealed, the encoder is frozen, the head is a logistic "
        "regression)."
    )

"""Compares variants on equal splits, seeds and test images, and decides about the hypotheses.

The verdicts use `p_holm`, which is about the procedure: training again with other seeds and testing
on other images. The sign-flip test and McNemar's test are only about the trained models, so their p
values are smaller; they decide nothing.

The same comparison is made under salt and pepper on the test images (`noisy`). The score of an
image is then the share of noise levels at which it is classified correctly, and the hypothesis is
that the variant makes classifiers robust.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.frame import command, is_uneven, meaningless, sweep_frame
from analysis.markdown import markdown, write_table
from analysis.pairing import Pair, pairs
from analysis.reading import once
from analysis.variants import REFERENCE
from analysis.verdicts import opponent, p_words, sentence, verdicts

FEWEST_SEEDS = 3
FOR_PROGRAMS = ("noisy", "pretrained", "keys", "compared")  # columns only for other code
STEPS = "budget.classify.min_steps"


@once
def compare_sweep(
    runs_dir: Path, sweep: str, *, noisy: bool = False, balanced: bool = False
) -> pd.DataFrame:
    """One row for each comparison, in the order of `pairs`. Accuracies, gaps and `shown_from` are
    fractions (0.02 is 2 points).

    Columns:
        split, variant, against, then other swept choices, seeds and images in common;
        accuracy, accuracy_against, gap, and low and high, its 95 % interval over seeds and images;
        p for no gap, and p_holm, adjusted for the rows of the table;
        p_permutation and p_mcnemar, for the trained models only; effect, Cohen's h;
        shown_from, the smallest true gap that is shown with 80 % power;
        equivalent, whether a gap of two points is ruled out;
        more_seeds, the number of further seeds (nan: no number is enough);
        missing, the missing runs, and run, the command for them;
        other, the choices of `against` that differ from the row;
        FOR_PROGRAMS: noisy, pretrained (the variant needs a pretraining), keys of the compared
        runs, and compared, the number of comparisons for which p_holm is corrected.

    With one seed, columns over seeds are nan. Under noise, an accuracy is the mean over the noise
    levels. With `balanced`, an accuracy is the mean of the accuracies of the classes; p_permutation
    and p_mcnemar, which count images, are then nan. Raises UserError as `pairs` does.
    """
    found = pairs(runs_dir, sweep, noisy=noisy, balanced=balanced)
    family = max(sum(pair.is_crossed for pair in found), 1)
    table = pd.DataFrame([_row(pair, statistics.ALPHA / family) for pair in found])
    if not found:
        return table.assign(noisy=noisy)
    if balanced:
        table[["p_permutation", "p_mcnemar"]] = np.nan
    p_holm = statistics.holm(table["p"].to_numpy(float))
    table.insert(table.columns.get_loc("p") + 1, "p_holm", p_holm)
    table["run"] = [_command(runs_dir, sweep, pair) for pair in found]
    table["keys"] = [pair.keys for pair in found]
    pretrained = [pair.pretrained for pair in found]
    return table.assign(noisy=noisy, pretrained=pretrained, compared=family)


def _command(runs_dir: Path, sweep: str, pair: Pair) -> str:
    """The command for the missing runs of a comparison; empty if none is missing."""
    if not pair.missing and len(pair.seeds) > 1:
        return ""
    seeds = range(FEWEST_SEEDS) if len(pair.seeds) < 2 else ()
    return command(runs_dir, sweep, seeds=seeds, variants=[pair.about["against"]])


def _row(pair: Pair, alpha: float) -> dict[str, Any]:
    row = {name: pair.about[name] for name in ("split", "variant", "against")} | pair.about
    accuracy, against = pair.correct.mean((1, 2)) if pair.correct.size else (np.nan, np.nan)
    row |= {"seeds": len(pair.seeds), "images": pair.correct.shape[2]}
    row |= {"accuracy": accuracy, "accuracy_against": against, "gap": accuracy - against}
    row |= (
        _over_seeds(pair, alpha) if pair.is_crossed else dict.fromkeys(("low", "high", "p"), np.nan)
    )
    votes = np.rint(pair.levels * np.subtract(*pair.correct).sum(0)).astype(int)
    row["p_permutation"] = statistics.sign_flip(votes) if pair.seeds else np.nan
    row["p_mcnemar"] = (
        statistics.mcnemar(int((votes > 0).sum()), int((votes < 0).sum())) if pair.seeds else np.nan
    )
    row["effect"] = statistics.cohens_h(accuracy, against)
    more = {
        "shown_from": np.nan,
        "equivalent": False,
        "more_seeds": float(FEWEST_SEEDS - len(pair.seeds)) if len(pair.seeds) < 2 else np.nan,
    }
    return (
        row
        | {name: row.pop(name, other) for name, other in more.items()}
        | {"missing": ", ".join(pair.missing), "other": pair.other}
    )


def _over_seeds(pair: Pair, alpha: float) -> dict[str, Any]:
    gap = statistics.crossed(np.subtract(*pair.correct))
    half, more = float(gap.half_width()), statistics.more_seeds(gap, alpha)
    return {
        "low": max(float(gap.mean) - half, -1.0),
        "high": min(float(gap.mean) + half, 1.0),
        "p": float(gap.p_value()),
        "shown_from": float(statistics.shown_from(gap, alpha)),
        "equivalent": bool(statistics.equivalent(gap)),
        "more_seeds": np.nan if more is None else float(more),
    }


UNDER_NOISE = (
    "Under salt and pepper on the test images, mean over the shares of replaced pixels:\n\n"
)
BALANCED = (
    "Balanced accuracy (mean of the accuracies of the classes), because class sizes differ by more "
    "than two to one:\n\n"
)
NOTE = (
    "Gap: in percentage points, with its 95 % interval over seeds and test images. p: for no gap "
    "over new seeds and images,\nadjusted for the whole table (Holm). p flip (sign flips) and p "
    "McNemar hold for the trained models only. h: Cohen's\neffect size. Shown from: the smallest "
    "true gap that this many seeds and images show with 80 % power.\n"
    "Same: two one-sided tests at 5 % show a gap of less than two points."
)
HEAD_START = (
    f"- A gain over {REFERENCE} can be a mere head start: repeat it with {STEPS}=20,80,160 "
    "(make sweep-steps)."
)


def as_markdown(table: pd.DataFrame) -> str:
    """The comparisons as Markdown, then the verdicts, then the commands for missing runs."""
    columns = list(table.columns)
    swept = columns[columns.index("against") + 1 : columns.index("seeds")]
    head = [
        "split",
        "variant",
        "against",
        *swept,
        "seeds",
        "gap",
        "p",
        "p flip",
        "p McNemar",
        "h",
        "shown from",
        "same",
    ]
    found = verdicts(table)
    said = [f"- {sentence(verdict)}" for verdict in found]
    gains = table[[one.word == "supported" for one in found]]
    over_reference = (gains["against"] == REFERENCE) & (gains["variant"] != REFERENCE)
    if STEPS not in swept and over_reference.any():
        said.append(HEAD_START)
    holes = table[table["run"] != ""].groupby("run")["missing"].agg(_distinct)
    fill = [
        f"{f'Missing: {missing}; run: {run}' if missing else f'To get an interval, run: {run}'}"
        for run, missing in holes.items()
    ]
    return "\n\n".join(
        [
            markdown(head, [_shown(row, swept) for row in table.to_dict("records")]),
            NOTE,
            "\n".join(said + fill),
        ]
    )


def _distinct(lists: pd.Series) -> str:
    return ", ".join(dict.fromkeys(", ".join(filter(None, lists)).split(", ")))


def _shown(row: dict[str, Any], swept: list[str]) -> list[str]:
    gap, low, high, shown_from = (100 * row[name] for name in ("gap", "low", "high", "shown_from"))
    return [
        f"{row['split']}/{100 - row['split']}",
        str(row["variant"]),
        opponent(row),
        *(str(row[name]) for name in (*swept, "seeds")),
        ""
        if np.isnan(gap)
        else f"{gap:+.1f}"
        if np.isnan(low)
        else f"{gap:+.1f} [{low:+.1f}, {high:+.1f}]",
        *(p_words(row[name]) for name in ("p_holm", "p_permutation", "p_mcnemar")),
        "" if np.isnan(gap) else f"{row['effect']:+.2f}",
        "" if np.isnan(shown_from) else f"{shown_from:.1f}",
        "yes" if row["equivalent"] else "",
    ]


def write_comparisons(
    runs_dir: Path, sweep: str, written_as: str | None = None
) -> list[tuple[str, str]]:
    """Write a sweep's comparisons and verdicts, also those under noise, to `tables/`; returns each
    text and its files, an empty list if there are none.

    Files are named `written_as`, by default after the sweep. Raises UserError as `pairs` does.
    """
    frame, _ = sweep_frame(runs_dir, sweep)
    kinds = [("", ""), ("-noise", UNDER_NOISE)]
    if is_uneven(frame):
        kinds.insert(1, ("-balanced", BALANCED))
    written = []
    for end, words in kinds:
        noisy, balanced = end == "-noise", end == "-balanced"
        table = compare_sweep(runs_dir, sweep, noisy=noisy, balanced=balanced)
        if table.empty or (noisy and not table["seeds"].any()):
            continue
        parts = [meaningless(frame), words.strip(), as_markdown(table)]
        text = "\n\n".join(part for part in parts if part)
        stem = runs_dir / "tables" / f"{written_as or sweep}{end}_comparisons"
        csv = table.drop(columns=list(FOR_PROGRAMS)).to_csv(index=False)
        written.append((text, write_table(stem, text, csv)))
    return written

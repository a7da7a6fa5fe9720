"""Verdicts on hypotheses (supported, refuted, cannot tell), and their sentences.

The claims are in the variant's YAML, or else in `sentences.yaml`.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from analysis import statistics
from analysis.variants import Claims, variant

SENTENCES = Path(__file__).with_name("sentences.yaml")


class Verdict(NamedTuple):
    """The verdict of a comparison on its hypothesis; `claims` has the wording. gap, low and high
    are fractions, nan if unknown.
    """

    claims: Claims
    word: str
    gap: float
    low: float
    high: float
    more_seeds: int | None
    variant: str = ""
    against: str = ""
    where: str = ""
    seeds: int = 0
    images: int = 0
    p: float = np.nan
    equivalent: bool = False
    run: str = ""
    compared: int = 1

    @property
    def leaves_out_nought(self) -> bool:
        """Whether the interval of this comparison, uncorrected, excludes 0."""
        return self.low > 0 or self.high < 0


def verdicts(comparisons: pd.DataFrame) -> list[Verdict]:
    """One verdict for each row: supported or refuted if the gap is shown (Holm's p at most 5 %),
    else cannot tell.

    A gap that is shown to be smaller than two points also refutes the hypothesis.
    """
    return [_verdict(row) for row in comparisons.to_dict("records")]


def place(choices: dict[str, Any]) -> str:
    """The split and the other swept choices of a comparison, as short text."""
    split, *swept = choices.items()
    words = [f"{name}={value}" for name, value in swept if value != ""]
    return " ".join([f"{split[1]}/{100 - split[1]}", *words])


def _verdict(row: dict[str, Any]) -> Verdict:
    shown = row["p_holm"] <= statistics.ALPHA
    word = "cannot tell"
    if shown and row["gap"] > 0:
        word = "supported"
    elif shown or row["equivalent"]:
        word = "refuted"
    columns = list(row)
    swept = columns[columns.index("against") + 1 : columns.index("seeds")]
    return Verdict(
        claims=_claims(row),
        word=word,
        more_seeds=int(row["more_seeds"])
        if word == "cannot tell" and np.isfinite(row["more_seeds"])
        else None,
        where=place({name: row[name] for name in ("split", *swept)}),
        p=row["p_holm"],
        equivalent=not shown and row["equivalent"],
        against=opponent(row),
        compared=int(row.get("compared", 1)),
        **{name: row[name] for name in ("gap", "low", "high", "variant", "seeds", "images", "run")},
    )


def outcome(verdict: Verdict) -> str:
    """A verdict in a few words: shown above or below, shown within two points, or not shown. If the
    interval alone would show it, the correction is named as the reason.
    """
    if verdict.equivalent:
        return f"shown to be within {100 * statistics.MARGIN:g} points"
    if verdict.word != "cannot tell":
        return f"shown to be {'above' if verdict.gap > 0 else 'below'}"
    if verdict.leaves_out_nought:
        return f"not shown after correction for {verdict.compared} comparisons"
    return "not shown to differ"


def opponent(row: dict[str, Any]) -> str:
    """The opponent in a comparison, with those of its choices that differ from the row."""
    return f"{row['against']} ({row['other']})" if row["other"] else str(row["against"])


def _claims(row: dict[str, Any]) -> Claims:
    """The claim of a comparison: from the variant's YAML, or else the default one."""
    own = {} if row["noisy"] else variant(row["variant"]).claim(row["against"])
    usual = "pretraining pays" if row["pretrained"] else "it pays"
    if row["variant"] == row["against"]:
        usual = "the other choice pays"
    if row["noisy"]:
        usual = "it makes robust"
    return {language: words[usual] for language, words in sentences().items()} | own


@lru_cache
def sentences() -> dict[Any, Any]:
    """The sentences of the verdicts, by language (sentences.yaml)."""
    return dict(yaml.safe_load(SENTENCES.read_text()))


def sentence(verdict: Verdict, language: str = "en") -> str:
    """A verdict as a sentence with its numbers, in English (`en`) or Spanish (`es`)."""
    words = sentences()[language]
    about = verdict._replace(claims={})._asdict()
    numbers = about | {
        "by": f"{100 * abs(verdict.gap):.1f}",
        "gap": f"{100 * verdict.gap:+.1f}",
        "low": f"{100 * verdict.low:+.1f}",
        "high": f"{100 * verdict.high:+.1f}",
        "p": p_words(verdict.p, "= "),
        "margin": f"{100 * statistics.MARGIN:g}",
    }
    point = words["point"]
    numbers = {n: re.sub(r"(?<=\d)\.(?=\d)", point, str(value)) for n, value in numbers.items()}
    evidence = words["evidence"].format(**numbers)
    claim = verdict.claims[language][verdict.word].replace("{variant}", verdict.variant)
    return f"{claim}: {words[_case(verdict)].format(**numbers, evidence=evidence)}"


def _case(verdict: Verdict) -> str:
    """The key of the sentence: what was shown, or why nothing is shown."""
    if verdict.word != "cannot tell":
        return "within" if verdict.equivalent else "above" if verdict.gap > 0 else "below"
    if verdict.seeds < 2:
        return "one seed" if verdict.seeds else "no seed"
    if verdict.images < 2:
        return "one image"
    if verdict.leaves_out_nought:
        return "after correction"
    return "few images" if verdict.more_seeds is None else "few seeds"


def p_words(p: float, equals: str = "") -> str:
    """A p value as short text; empty if unknown."""
    if np.isnan(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"

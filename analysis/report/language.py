"""How one language of the article writes numbers, intervals and what is missing; its words stand in
article.yaml.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

HOUSE = Path(__file__).parent  # of the templates
MINUS = r"\ensuremath{-}"
SPECIAL = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


@lru_cache
def reading() -> dict[str, Any]:
    """What the article reads, how it is written, and the words of both languages (article.yaml)."""
    return dict(yaml.safe_load((HOUSE / "article.yaml").read_text()))


class Language:
    """One language of the article, es or en, and the sweep that answers each experiment."""

    def __init__(self, name: str, sweeps: Mapping[str, str]) -> None:
        self.name = name
        self.sweeps = sweeps
        self.words = reading()[name]
        self.template = (HOUSE / f"article_{name}.tex").read_text()

    def shown(self, row: Mapping[Any, Any] | pd.Series, column: str) -> str:
        """A value of a row as LaTeX, with its interval if it has one, in the style of its column in
        article.yaml.
        """
        value, style = row[column], reading()["styles"][column]
        if column == "split":
            return f"{value:.0f}/{100 - value:.0f}"
        if isinstance(value, list):
            return ", ".join(map(str, value))
        if style == "text" or isinstance(value, str):
            return latex(self.words["terms"].get(value, value))
        if style == "chance" and value < 0.001:
            return rf"\ensuremath{{<}}{self.number(0.001, 3)}"
        factor, digits, *sign = (1, 3) if style == "chance" else style
        low, high = (row.get(f"{column}_{end}") for end in ("low", "high"))
        texts = [
            self.number(factor * x, digits, *sign)
            for x in (value, low, high)
            if x is not None and not pd.isna(x)
        ]
        return (
            f"{texts[0]} [{texts[1]}{self.words['between']}{texts[2]}]"
            if texts[1:]
            else "".join(texts) or "--"
        )

    def number(self, value: float, digits: int, sign: str = "") -> str:
        """A number with so many decimals."""
        text = f"{value:{sign},.{digits}f}".translate(
            {ord(","): self.words["thousands"], ord("."): self.words["point"]}
        )
        return text.replace("-", MINUS)

    def localized(self, text: str) -> str:
        """A sentence of numbers written in English: its decimal points and intervals in this
        language.
        """
        return re.sub(
            r"(?<=\d)\.(?=\d)",
            self.words["point"],
            re.sub(r"(?<=\d), (?=[+-])", self.words["between"], text),
        )

    def hole(self, name: str, **about: object) -> str:
        """What stands where a value is missing, with the command that brings it: see `cures` in
        article.yaml.
        """
        cures, one = reading()["cures"], next(iter(self.sweeps.values()), "exp1")
        cure = cures.get(name.partition("/")[0], cures["one"]).format(**{"sweep": one} | about)
        return rf"\hole{{{self.words['absent']}{self.words['cure'] + typed(cure) if cure else ''}}}"


def typed(command: str) -> str:
    """A command to type, as LaTeX that may break it after a punctuation mark."""
    broken = re.sub(r"(?<=[,/=])", lambda _: r"\allowbreak{}", latex(command))
    return rf"\run{{{broken}}}"


def latex(text: object) -> str:
    """Text as LaTeX shows it; what is LaTeX already stays as it is."""
    return str(text) if str(text).startswith("\\") else str(text).translate(SPECIAL)

"""The one shape of a table on the terminal: Markdown that also reads well as text, and the same
table for LaTeX.
"""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from birds.core.store import write_text

ESCAPED = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "\\": r"\textbackslash{}"}
)
FORMATS = (".md", ".csv", ".tex")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns as wide as their longest cell."""
    lines = [list(head), *map(list, rows)]
    columns = list(zip(*lines, strict=True))
    width = [max(map(len, column)) for column in columns]
    lines.insert(1, ["-" * wide for wide in width])
    shown = []
    for line in lines:
        cells = [cell.ljust(wide) for cell, wide in zip(line, width, strict=True)]
        shown.append(f"| {' | '.join(cells)} |")
    return "\n".join(shown)


def booktabs(text: str) -> str:
    """Every Markdown table of a text as a LaTeX `tabular` with booktabs' rules; headings stay as
    comments.
    """
    written = []
    for start, group in groupby(text.splitlines(), key=lambda line: line[:1]):
        if start == "#":
            written += [f"% {line.strip('# ')}" for line in group]
        elif start == "|":
            written.append(_tabular([_cells(line) for line in group]))
    return "\n\n".join(written)


def _cells(line: str) -> list[str]:
    """The cells of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def _tabular(lines: list[list[str]]) -> str:
    head, _, *rows = lines
    columns = [list(column)[1:] for column in zip(head, *rows, strict=True)]
    align = "".join(map(_alignment, columns))
    first, *body = map(_latex_row, [head, *rows])
    inner = [r"\toprule", first, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([rf"\begin{{tabular}}{{{align}}}", *inner, r"\end{tabular}"])


def _alignment(column: list[str]) -> str:
    """Numbers stand on the right, words on the left."""
    return "r" if all(re.match(r"[-+~<\d]|$", cell) for cell in column) else "l"


def _latex_row(cells: list[str]) -> str:
    return " & ".join(cell.translate(ESCAPED) for cell in cells) + r" \\"


def write_table(stem: Path, text: str, csv: str) -> str:
    """Write a table as Markdown, CSV and LaTeX into `stem`.md, .csv and .tex; returns what to say
    of it.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix, content in zip(FORMATS, (f"{text}\n", csv, f"{booktabs(text)}\n"), strict=True):
        write_text(stem.with_name(stem.name + suffix), content)
    return f"{stem}{', '.join(FORMATS)}"

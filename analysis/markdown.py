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
    width = [max(len(line[k]) for line in lines) for k in range(len(head))]
    lines.insert(1, ["-" * w for w in width])
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, width, strict=True)) + " |"
        for line in lines
    )


def booktabs(text: str) -> str:
    """Every Markdown table of a text as a LaTeX `tabular` with booktabs' rules; headings stay as
    comments.
    """
    written = []
    for start, group in groupby(text.splitlines(), key=lambda line: line[:1]):
        if start == "#":
            written += [f"% {line.strip('# ')}" for line in group]
        elif start == "|":
            written.append(
                _tabular([[cell.strip() for cell in line.strip("|").split("|")] for line in group])
            )
    return "\n\n".join(written)


def _tabular(lines: list[list[str]]) -> str:
    head, _, *rows = lines
    numeric = [all(re.match(r"[-+~<\d]|$", row[k]) for row in rows) for k in range(len(head))]
    align = "".join("r" if right else "l" for right in numeric)
    first, *body = [
        " & ".join(cell.translate(ESCAPED) for cell in line) + r" \\" for line in [head, *rows]
    ]
    inner = [r"\toprule", first, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([rf"\begin{{tabular}}{{{align}}}", *inner, r"\end{tabular}"])


def write_table(stem: Path, text: str, csv: str) -> str:
    """Write a table as Markdown, CSV and LaTeX into `stem`.md, .csv and .tex; returns what to say
    of it.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix, content in zip(FORMATS, (f"{text}\n", csv, f"{booktabs(text)}\n"), strict=True):
        write_text(stem.with_name(stem.name + suffix), content)
    return f"{stem}{', '.join(FORMATS)}"

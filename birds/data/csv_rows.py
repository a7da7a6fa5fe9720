"""Reads the rows of a CSV with any usual delimiter, with or without a byte order mark."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from birds.core.errors import UserError

DELIMITERS = (",", ";", "\t", "|")
BLANK = " "  # aligned columns: any number of blanks between two cells
TRIED = 50  # rows that are used to detect the delimiter


class Rows(NamedTuple):
    """The cells of all rows that are not empty (at least one row), and the delimiter."""

    cells: list[list[str]]
    delimiter: str
    usual: str  # the detected delimiter

    def other_delimiter(self) -> str:
        """A hint if the detected delimiter differs from the chosen one; else empty."""
        if self.usual == self.delimiter:
            return ""
        return (
            f" (the delimiter seems to be {self.usual!r}: choose "
            f"data.table.delimiter='{self.usual}')"
        )


def read_rows(file: Path, delimiter: str | None) -> Rows:
    """The rows of a table; None detects the delimiter. Raises UserError if unreadable."""
    if delimiter is not None and len(delimiter) != 1:
        raise UserError(
            f"data.table.delimiter={delimiter!r}: a delimiter is one character, such as ';'"
        )
    text = _text(file)
    usual = _usual_delimiter(text)
    try:
        reader = _reader(io.StringIO(text, newline=""), delimiter or usual)
        cells = [row for row in reader if "".join(row).strip()]
    except (csv.Error, ValueError, TypeError) as error:
        raise UserError(f"cannot read {file} as a table ({error}): save it as a CSV") from None
    if not cells:
        raise UserError(f"{file} is an empty table: give a table with one row per image")
    return Rows(cells, delimiter or usual, usual)


def _reader(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    if delimiter != BLANK:
        yield from csv.reader(lines, delimiter=delimiter)
        return
    stripped = (line.strip() for line in lines)
    yield from csv.reader(stripped, delimiter=BLANK, skipinitialspace=True)


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")  # Excel's default


def _usual_delimiter(text: str) -> str:
    """The delimiter that splits most of the first rows into the same number of cells, at least two.

    Blanks count only if no other delimiter splits a row, because names contain blanks, too.
    """
    lines = [line for line in text.splitlines()[: 2 * TRIED] if line.strip()][:TRIED]
    found = {delimiter: _cut(lines, delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda delimiter: found[delimiter])
    if found[best] == (0, 0):
        return BLANK if _cut(lines, BLANK)[0] == len(lines) > 1 else best
    return best


def _cut(lines: Sequence[str], delimiter: str) -> tuple[int, int]:
    """The most frequent number of cells above one: how many rows have it, and the number."""
    try:
        widths = Counter(len(row) for row in _reader(lines, delimiter) if row)
    except csv.Error:
        return 0, 0
    several = [(count, width) for width, count in widths.items() if width > 1]
    return max(several, default=(0, 0))

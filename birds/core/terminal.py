"""Sentences on a terminal."""

import shutil
import sys
import textwrap


def columns(most: int = 100) -> int:
    """The characters in a line on this terminal, at most `most`; 80 where there is none."""
    return min(shutil.get_terminal_size((80, 24)).columns, most)


def wrapped(line: str) -> str:
    """A sentence wrapped between words; a command, which begins with a blank, stays in one line."""
    if line.startswith(" "):
        return line
    return textwrap.fill(line, columns(), break_long_words=False, break_on_hyphens=False)


def tell(line: str) -> None:
    """Print a sentence to stderr, wrapped if that is a terminal; in a file it stays one line."""
    print(wrapped(line) if sys.stderr.isatty() else line, file=sys.stderr)

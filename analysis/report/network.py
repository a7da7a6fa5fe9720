"""The code of the network that an article's classifiers were trained with, as a listing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import birds.core

PLAIN = str.maketrans({"\N{MULTIPLICATION SIGN}": "x", "→": "->", "≤": "<=", "≥": ">=", "·": "*"})


def network_code(records: pd.DataFrame) -> bytes:
    """The source of the encoder that the classifiers share, in ASCII, as LaTeX's listings wants it;
    nothing where they have several, or one that does not come with the project.
    """
    classify = records[records["stage"] == "classify"]
    names = set(classify.get("choice.encoder.part", pd.Series(dtype=object)).dropna())
    if len(names) != 1:
        return b""
    name = str(names.pop())
    file = Path(birds.core.__file__).parents[1] / "encoders" / f"{name}.py"
    if not name.isidentifier() or not file.is_file():
        return b""
    return file.read_text().translate(PLAIN).encode("ascii", "replace")

"""Rows of `runs/latency.jsonl`: appended whole, one JSON object a line, by as many processes as like."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.latency import rows_file
from birds.spec import Refused
from birds.store import FULL, disk_full, locked


def append_rows(runs_dir: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Add rows at the end of the file, all or none of them; returns the file.

    Raises Refused when the disk is full; the file is then as it was.
    """
    path = rows_file(runs_dir)
    text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode()
    with locked(path.with_suffix(".lock")), path.open("ab") as file:
        before = file.tell()
        try:
            file.write((b"\n" if _cut_short(path) else b"") + text)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            os.truncate(path, before)
            if error.errno in FULL:
                raise Refused(disk_full(path)) from None
            raise
    return path


def _cut_short(path: Path) -> bool:
    """Whether the last line has no end: its writer was killed. The next row then starts on a line of its own."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"

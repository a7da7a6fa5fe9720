"""The study of a sweep for the page: sentences, tables, and the pictures written by `birds
study`.
"""

from pathlib import Path
from typing import Any

from analysis.dashboard.pictures import jpegs
from analysis.study import TITLES, shown_table, study

PICTURES = ("classes", "learning", "confusion", "errors", "layers", "size")


def study_section(runs_dir: Path, sweep: str) -> dict[str, Any]:
    """sentences, tables (title, head, rows), pictures (name, src) and notices, ready for JSON."""
    found = study(runs_dir, sweep)
    tables = []
    for name, table in found.tables.items():
        head, rows = shown_table(table)
        tables.append({"title": TITLES[name], "head": head, "rows": rows})
    folder = runs_dir / "study" / sweep
    files = [folder / f"{name}.png" for name in PICTURES]
    pictures = jpegs([file for file in files if file.exists()])
    return {
        "sentences": found.sentences,
        "tables": tables,
        "pictures": [{"name": file.stem, "src": src} for file, src in pictures.items()],
        "notices": found.notices,
    }

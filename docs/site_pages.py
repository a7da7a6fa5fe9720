"""What the site consists of: a hook of mkdocs, which `mkdocs.yml` names.

mkdocs knows one folder of pages, but README, decisions and the pages of clusters and speed stand
outside `docs/`. So every page is handed to it under its place in the repository. Links between
pages, which GitHub resolves in the same way, are then right without being rewritten.
"""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/**/*.md", "slurm/*.md", "bench/*.md")
LINKED = ("docs/readme/*", "docs/results/*.csv", "CITATION.cff")


def on_files(files: Files, config: Any) -> Files:
    """Every page, and what pages link to, beside the files of the theme."""
    own = [file for file in files if file.abs_src_path is None]
    for pattern in (*PAGES, *LINKED):
        for path in sorted(ROOT.glob(pattern)):
            place = path.relative_to(ROOT).as_posix()
            own.append(File.generated(config, place, abs_src_path=str(path)))
    return Files(own)

"""Writes figures to files, several at a time, each with equal bytes for equal records."""

import gc
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from birds.core.machine import cores
from birds.core.store import write_atomically

FORMATS = ("png", "pdf", "svg")
FASTER_PNG = {"compress_level": 3}  # the usual 6 takes twice the time for 5 to 10 % of the size
UNDATED = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}


def save(figure: Figure, stem: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write a figure to `stem`.png, .pdf and .svg, always with equal bytes; returns the files."""
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
    _lay_out(figure)
    for file, kind in zip(files, formats, strict=True):
        options: dict[str, Any] = {"pil_kwargs": FASTER_PNG} if kind == "png" else {}
        options |= {"format": kind, "dpi": 160, "metadata": UNDATED[kind]}
        write_atomically(file, partial(figure.savefig, **options))
    return files


def _lay_out(figure: Figure) -> None:
    """Lay a figure out once, for all formats.

    Without a layout engine, `savefig` draws once; with one, even one that does nothing, twice.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine(None)


def draw_all(draw: Callable[[str], str], names: Sequence[str]) -> list[str]:
    """The results of `draw` for each name, in the order of the names.

    Forked processes draw, one for each core: they need no second import. They do not search what
    was imported for garbage, which would take a tenth of their time.
    """
    # before forks
    from matplotlib.backends import backend_agg, backend_pdf, backend_svg  # noqa: F401

    processes = min(cores(), len(names))
    if processes < 2 or "fork" not in multiprocessing.get_all_start_methods():
        return [draw(name) for name in names]
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, initializer=gc.freeze) as pool:
        jobs = [pool.submit(draw, name) for name in reversed(names)]  # the large ones come last
        return [job.result() for job in reversed(jobs)]

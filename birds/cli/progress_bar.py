"""A progress bar that counts the images of folders."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def progress_bar(places: Sequence[Path]) -> Iterator[Callable[[], object]]:
    """Yields a function to call after each image. Draws a bar only on a terminal."""
    if not (sys.stderr.isatty() and any(place.is_dir() for place in places)):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from birds.use.predict import image_files

    total = sum(1 for _ in image_files(places))
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("images", total=total)
        yield lambda: bar.advance(task)

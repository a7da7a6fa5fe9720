"""Prepares the standard streams of a process, so that it can print any text.

A caller may have closed a stream (`>&-`); the next opened file would then get its number. A
terminal may not support a character, and folder names may not be valid text.
"""

import contextlib
import csv
import io
import os
import select
import sys

NAMES = ("stdin", "stdout", "stderr")
LONGEST_FIELD = 2**31 - 1  # of a CSV: masks and polygons exceed Python's limit of 131,072


def prepare_process() -> None:
    """Open closed standard streams on /dev/null, print unsupported characters as escapes, and allow
    long fields in CSV files.
    """
    for number, name in enumerate(NAMES):
        _open_if_closed(number, name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    csv.field_size_limit(LONGEST_FIELD)


def _open_if_closed(number: int, name: str) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)
    if getattr(sys, name) is None:
        mode = "r" if name == "stdin" else "w"
        stream = os.fdopen(number, mode, encoding="utf-8", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def reader_is_gone() -> bool:
    """Whether standard output or standard error is a pipe without a reader."""
    for number in (1, 2):
        poll = select.poll()
        poll.register(number, 0)
        with contextlib.suppress(OSError):
            if any(event & select.POLLERR for _, event in poll.poll(0)):
                return True
    return False


def drop_output() -> None:
    """Send the remaining output to /dev/null, so that Python reports no error at exit."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nothing, number)
    os.close(nothing)


def tracking_is_off() -> bool:
    """Whether the environment switches W&B off, by WANDB_MODE or WANDB_DISABLED."""
    disabled = os.environ.get("WANDB_DISABLED", "").strip().lower()
    mode = os.environ.get("WANDB_MODE", "").strip().lower()
    return mode == "disabled" or disabled in ("true", "1", "yes")

"""Reads each sweep once while a command works on it.

A command asks for the same records many times, for example for every figure. Inside `reading_once`,
functions with `@once` keep their results by their arguments. Outside, they read again at every
call, because records appear while a sweep runs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import pandas as pd

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_results: ContextVar[dict[Any, Any] | None] = ContextVar("results", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """Keep the results of functions with `@once` until the end of the outermost such block."""
    if _results.get() is not None:
        yield
        return
    before = _results.set({})
    try:
        yield
    finally:
        _results.reset(before)


def once(read: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Call `read` once for equal arguments, which must be hashable, inside `reading_once`.

    Every caller gets its own copy of the frames and lists, so that it may change them. An error is
    not kept.
    """

    @wraps(read)
    def kept(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        known = _results.get()
        if known is None:
            return read(*args, **kwargs)
        call = (read, args, tuple(sorted(kwargs.items())))
        if call not in known:
            known[call] = read(*args, **kwargs)
        result: Result = _copied(known[call])
        return result

    return kept


def _copied(value: Any) -> Any:
    """The value with new frames, lists and tuples; what these contain is shared."""
    if isinstance(value, pd.DataFrame):
        return value.copy()
    if isinstance(value, list):
        return list(value)
    if type(value) is tuple:
        return tuple(_copied(part) for part in value)
    return value

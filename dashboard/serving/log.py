"""A log that says what went wrong and where, and never with which values: those are patients'.

An exception is written as its type and the places it came through. Its text is left out (but for a missing package's name),
wherever it would come from:
Streamlit's log of a page that failed, asyncio's, a thread's, the interpreter's own last words.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any

_make: Callable[..., logging.LogRecord] = logging.getLogRecordFactory()


def without_values() -> None:
    """Write no exception's text from now on, in all of this process."""
    logging.setLogRecordFactory(_record)
    sys.excepthook = lambda _kind, error, _trace: _say(error)
    sys.unraisablehook = lambda what: _say(what.exc_value)
    threading.excepthook = lambda what: _say(what.exc_value)
    warnings.showwarning = _warning


def place(error: BaseException | None) -> str:
    """Types and places of an exception and of those behind it, the first cause first."""
    told: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        lines = [
            f"  {frame.filename}, line {frame.lineno}, in {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)
        ]
        text = str(error) if isinstance(error, ImportError) else "its text is left out"
        told.append("\n".join([f"{_name(error)} ({text}), raised through", *lines]))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nwhich led to\n".join(reversed(told))


def _record(*args: Any, **more: Any) -> logging.LogRecord:
    """A record whose exception is already text, so that no formatter writes another."""
    record = _make(*args, **more)
    if record.exc_info:
        record.exc_text = place(record.exc_info[1])
        record.exc_info = None
        # asyncio repeats the exception inside its message, below the first line.
        record.msg = str(record.msg).partition("\n")[0]
    if isinstance(record.args, tuple):
        record.args = tuple(_name(each) if isinstance(each, BaseException) else each for each in record.args)
    return record


def _name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")


def _say(error: BaseException | None) -> None:
    if error is not None and sys.stderr is not None:
        print(place(error), file=sys.stderr)


def _warning(*said: Any, **_: Any) -> None:
    _text, category, filename, line = said[:4]
    if sys.stderr is not None:
        print(f"{filename}:{line}: {category.__name__} (its text is left out)", file=sys.stderr)

"""What people are told when a worker fails, and what the log is told: kinds and places, never values."""

from __future__ import annotations

import builtins
import logging
import os
import re
import signal
from typing import Any

import explainers as ex
from dashboard.workers.starting import WorkerDied

log = logging.getLogger("whyboard")

_DOING = {
    "load_model": "opening the file",
    "load_dataset": "reading the file",
    "hold": "taking the data",
    "applicable": "looking at what applies",
    "predict": "predicting",
    "explain": "explaining",
}

#: Which setting bounds the time of a verb, where it is not ``explain_seconds``.
_SETTING = {"load_model": "open", "load_dataset": "open", "hold": "open", "predict": "predict"}

_ERRORS = {
    kind.__name__: kind
    for kind in (
        ex.ExplainerError, ex.UnsupportedModel, ex.UnreadableFile, ex.SchemaMismatch, ex.InvalidSetting, ex.NotApplicable,
        ex.ModelFailure, ex.OutOfMemory,
    )
}  # fmt: skip


def too_slow(verb: str, seconds: float) -> str:
    """A request that took too long."""
    setting = f"workers.{_SETTING.get(verb, 'explain')}_seconds"
    return f"The model took more than {seconds:g} s while {_DOING[verb]} and was stopped (setting {setting})"


def nonsense(verb: str) -> str:
    """An answer that is none."""
    return f"The model's process answered nonsense while {_DOING[verb]} and was stopped"


def ending(status: int | None, verb: str) -> str:
    """How a process ended, from its exit status; negative for a signal."""
    if status is None:
        return f"The model's process closed its connection while {_DOING[verb]}"
    if status >= 0:
        return f"The model ended its own process while {_DOING[verb]} (status {status})"
    known = signal.Signals._value2member_map_
    name = signal.Signals(-status).name if -status in known else str(-status)
    memory = status in (-signal.SIGABRT, -signal.SIGKILL)
    advice = " (perhaps it needs more memory than setting workers.memory_gib allows)" if memory else ""
    return f"The model crashed while {_DOING[verb]} (signal {name}){advice}"


def error(body: Any, verb: str) -> Exception:
    """The error that a worker reports, if it is one of ours; anything else without its text."""
    if not isinstance(body, list) or len(body) != 2 or not all(isinstance(part, str) for part in body):
        return WorkerDied(nonsense(verb))
    name, text = body
    if name in _ERRORS:
        return _ERRORS[name](_printable(text[:4000]))
    if name == "MemoryError":
        return ex.OutOfMemory(
            f"The model needs more memory while {_DOING[verb]} than setting workers.memory_gib allows."
        )
    if name in ("ImportError", "ModuleNotFoundError"):
        return ex.UnsupportedModel(f"A library is missing here: {_printable(text[:400])}.")
    kind = _kind(name)
    log.error("%s in a worker while %s at %s", kind, _DOING[verb], _place(text))
    return ex.ModelFailure(
        f"This could not be computed: an {kind} while {_DOING[verb]}. Your data and selection are still here."
    )


def _printable(text: str) -> str:
    """A sentence without characters that control a terminal or a page."""
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)


def _kind(name: str) -> str:
    """One of Python's own kinds of errors; what a model calls its own may hold anything."""
    found = getattr(builtins, name.removeprefix("unexpected "), None)
    if isinstance(found, type) and issubclass(found, Exception):
        return f"unexpected {found.__name__}"
    return "unexpected error"


def _place(text: str) -> str:
    """File and line, where there is such a file here; a worker may write anything in their stead."""
    path, _, line = text.rpartition(":")
    known = len(text) < 500 and re.fullmatch(r"[\w./+-]+\.py", path) and re.fullmatch(r"[0-9]{1,6}", line)
    return text if known and os.path.isfile(path) else "an unknown place"

"""What was trusted when a model's file was opened: said at upload and among the facts, not under every prediction."""

from __future__ import annotations

import explainers as ex
from dashboard.workers.remote import PERMITTED

_OF_FILES = {form.opened or form.why for form in ex.FORMATS}


def of_predictions(model: ex.Model) -> tuple[str, ...]:
    """Notes on the model itself, such as another version of its library."""
    return model.notes[: _place(model)]


def of_file(model: ex.Model) -> tuple[str, ...]:
    """Notes on its file: what was trusted, and what was odd about it."""
    return model.notes[_place(model) :]


def ran_code(model: ex.Model) -> bool:
    """Whether its file was opened with the permission to run code; said by this side, not by the model."""
    return PERMITTED in model.notes


def _place(model: ex.Model) -> int:
    """Where the notes on the file begin: with the sentence on its format."""
    return next((at for at, note in enumerate(model.notes) if note in _OF_FILES), len(model.notes))

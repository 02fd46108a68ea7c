"""One family of errors. Each message says what is wrong, what was found, and what to do."""

from __future__ import annotations


class ExplainerError(Exception):
    """Anything a person can put right: a file, a setting, a choice."""


class UnsupportedModel(ExplainerError):
    """The model cannot be opened, or not in the way that was asked for."""


class UnreadableFile(ExplainerError):
    """A file is damaged, too large, or not what its name says."""


class SchemaMismatch(ExplainerError):
    """Model and data, or data and schema, do not fit together."""


class InvalidSetting(ExplainerError):
    """A setting, a row or a target lies outside what is allowed."""


class NotApplicable(ExplainerError):
    """This explainer cannot explain this model on this data."""


class ModelFailure(ExplainerError):
    """The model raised, or answered something that is not a prediction."""


class TooManyAtOnce(ModelFailure, MemoryError):
    """The model ran out of memory; fewer cases at a time may do, and whoever asks in portions tries that."""


class OutOfMemory(ExplainerError):
    """Even one row at a time does not fit into the device's memory."""


class Cancelled(Exception):
    """Raised inside a progress callback to stop a computation; not an error."""

"""dill files. Opening one runs whatever it says: call this only inside a locked process."""

from __future__ import annotations

from typing import Any

from explainers.errors import UnsupportedModel
from explainers.explanation import Output
from explainers.loading.sources import File
from explainers.model import Model


def load(file: File, classes: tuple[Any, ...] | None, output: Output = "auto") -> Model:
    """The object that a dill file makes, wrapped. Runs the code in the file."""
    try:
        import dill
    except ImportError as error:
        raise UnsupportedModel(
            f"{file.name!r} is a dill file; dill is not installed. Install it: pip install dill."
        ) from error
    return Model.wrap(dill.loads(file.content), classes, output=output)

"""Pickles. Opening one runs whatever it says: call this only inside a locked process."""

from __future__ import annotations

import pickle
from typing import Any

from explainers.explanation import Output
from explainers.loading.sources import File
from explainers.model import Model


def load(file: File, classes: tuple[Any, ...] | None, output: Output = "auto") -> Model:
    """The object that a pickle makes, wrapped. Runs the code in the file."""
    return Model.wrap(pickle.loads(file.content), classes, output=output)

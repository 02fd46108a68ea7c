"""joblib files, compressed or not. Opening one runs whatever it says: call this only inside a locked process."""

from __future__ import annotations

import io
from typing import Any

from explainers.explanation import Output
from explainers.loading.sources import File
from explainers.model import Model


def load(file: File, classes: tuple[Any, ...] | None, output: Output = "auto") -> Model:
    """The object that a joblib file makes, wrapped. Runs the code in the file."""
    import joblib

    return Model.wrap(joblib.load(io.BytesIO(file.content)), classes, output=output)

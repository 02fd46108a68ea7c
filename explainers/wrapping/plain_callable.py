"""Any function from rows to predictions: it gets what the data set holds, a frame's values for tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from explainers.explanation import Output, Space
from explainers.model import Model
from explainers.wrapping.declared import checked


def wrap(function: Callable[[Any], Any], classes: tuple[Any, ...] | None, output: Output) -> Model:
    """A callable; with `classes` it returns probabilities (``(n,)`` is the second class's), else a regression."""

    def predictor(X: Any) -> Any:
        return function(X.to_numpy() if isinstance(X, pd.DataFrame) else X)

    space: Space = "probability" if classes else "target"
    if output in ("probability", "raw", "target"):
        space = output
    return Model(
        checked(predictor) if classes and output == "probability" else predictor,
        task="classification" if classes else "regression",
        classes=classes or (),
        space=space,
        family=f"function {getattr(function, '__name__', type(function).__name__)}",
        declared=output,
    )

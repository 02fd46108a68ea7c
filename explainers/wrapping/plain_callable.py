"""Any function from rows to predictions: it gets what the data set holds, a frame's values for tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from explainers.explanation import Space
from explainers.model import Model


def wrap(function: Callable[[Any], Any], classes: tuple[Any, ...] | None, output: str) -> Model:
    """A callable; with `classes` it returns probabilities (``(n,)`` is the second class's), else a regression."""

    def predictor(X: Any) -> Any:
        return function(X.to_numpy() if isinstance(X, pd.DataFrame) else X)

    space: Space = "probability" if classes else "target"
    if output in ("probability", "raw", "target"):
        space = output  # type: ignore[assignment]
    return Model(
        predictor,
        task="classification" if classes else "regression",
        classes=classes or (),
        space=space,
        family=f"function {getattr(function, '__name__', type(function).__name__)}",
    )

"""What a fault case does with a file: open it as a user would, and ask the model for predictions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from explainers import ExplainerError, Limits, Model, load_dataset, load_model

ROWS = 70  # more than one of XGBoost's blocks of 64
MOST_COLUMNS = 10_000


def opened_model(content: bytes, architecture: Any = None, limits: dict[str, int] | None = None) -> Any:
    """What the model answers for seeded rows, some of them missing; raises what `load_model` and `predict` raise."""
    warnings.simplefilter("ignore")
    model = load_model(content, architecture, limits=Limits(**(limits or {})))
    X = rows_for(model)
    if X is None:
        return {"family": model.family, "predictions": None}
    predictions = model.predict(X)
    model.predict(X[:1])
    if "raw" in model.abilities:
        model.raw(X)
    if not np.isfinite(predictions).all():
        raise AssertionError("a prediction is not finite")
    return {"family": model.family, "predictions": predictions[:5].tolist()}


def rows_for(model: Model) -> Any:
    """Random rows of the shape that the model takes; `None` where no data set could have that many columns."""
    rng = np.random.default_rng(0)
    count = model.inputs if model.features is None else len(model.features)
    if isinstance(count, tuple):
        return rng.normal(size=(ROWS, *(side or 5 for side in count))).astype(np.float32)
    if count is None or count > MOST_COLUMNS:
        return None
    X = rng.normal(size=(ROWS, count))
    if not _refuses_missing(model):
        X[rng.random(X.shape) < 0.1] = np.nan
    frame = pd.DataFrame(X, columns=list(model.features or range(count)))
    return _with_categories(frame, model)


def _refuses_missing(model: Model) -> bool:
    return not model.family.startswith(("XGBoost", "LightGBM", "CatBoost")) and "Hist" not in model.family


def _with_categories(frame: pd.DataFrame, model: Model) -> pd.DataFrame:
    """Text for columns whose categories the file names."""
    columns = getattr(model.predictor, "columns", None)
    for place in getattr(columns, "categories", {}):
        frame[frame.columns[place]] = np.random.default_rng(1).choice(
            ["east", "north", "west", "yard"], len(frame)
        )
    return frame


def opened_data(content: bytes, target: str | None = None, limits: dict[str, int] | None = None) -> Any:
    """The size of a data set; raises what `load_dataset` raises."""
    warnings.simplefilter("ignore")
    try:
        data = load_dataset(content, target, limits=Limits(**(limits or {})))
    except ExplainerError as error:
        if target is None or "ill" not in str(error):
            raise
        data = load_dataset(content)
    return {"rows": len(data)}

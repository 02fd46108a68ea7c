"""What a module is given for the cases of a data set, and its answer in the data set's own features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.model import Model
from explainers.wrapping.torch_module import as_float32


def module_inputs(model: Model, X: Any) -> Float[np.ndarray, "n *shape"]:
    """float32 rows; of a table the columns that the model names, in its order."""
    if isinstance(X, pd.DataFrame) and model.features is not None:
        X = X[list(model.features)]
    return as_float32(X)


def in_features(model: Model, data: Dataset, values: np.ndarray) -> np.ndarray:
    """From the module's columns ``(m, e, …)`` to the schema's ``(m, d, …)``; a column it does not use has 0."""
    if data.modality != "table" or model.features is None or model.features == data.schema.names:
        return values
    spread = np.zeros((len(values), len(data.schema.names), *values.shape[2:]), dtype=values.dtype)
    spread[:, [data.schema.position(name) for name in model.features]] = values
    return spread


def not_numeric(model: Model, data: Dataset) -> str | None:
    """Why a module cannot be given these data: columns that hold something else than numbers."""
    if data.modality != "table":
        return None
    used = data.schema.names if model.features is None else model.features
    text = [n for n in used if n in data.schema.names and not _numeric(data.X[n])]
    if not text:
        return None
    return f"Needs numbers in every column; {', '.join(map(repr, text[:4]))} {'holds' if len(text) == 1 else 'hold'} something else."


def _numeric(column: pd.Series) -> bool:
    return isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf"

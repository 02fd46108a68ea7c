"""scikit-learn estimators and pipelines to skops; to ONNX where skops holds types that are not opened here."""

from __future__ import annotations

import importlib.util
import zipfile
from typing import Any

import numpy as np
import pandas as pd

from explainers.converting.choosing import library_of
from explainers.converting.subject import (
    SAME_ARITHMETIC,
    SINGLE_PRECISION,
    Subject,
    Written,
    first_line,
    quiet,
)
from explainers.dataset import Dataset
from explainers.errors import UnsupportedModel
from explainers.loading.models import load_model
from explainers.model import Model

#: Neither skops nor skl2onnx takes these as the last step of a pipeline.
BOOSTERS = ("xgboost", "lightgbm", "catboost")
LAST_STEP = (
    "In a pipeline: save its last step by itself (pipeline[-1]) and convert that, with data that the other steps have "
    "prepared (pipeline[:-1].transform)."
)


def subject(estimator: Any, classes: tuple[Any, ...] | None) -> Subject:
    """A fitted estimator or pipeline; raises `UnsupportedModel` for another."""
    model = Model.wrap(estimator, classes)
    width = model.inputs if isinstance(model.inputs, int) else len(model.features or ()) or None
    return Subject(model, lambda data: _written(estimator, model, data), width=width)


def _written(estimator: Any, model: Model, data: Dataset | None) -> Written:
    """skops where we open it again, else ONNX; the error names the types and the way out."""
    try:
        content = _skops(estimator)
        load_model(content, name="model.skops")
        return Written(content, ".skops", "skops", SAME_ARITHMETIC)
    except UnsupportedModel as error:
        if hasattr(estimator, "steps") and library_of(estimator.steps[-1][1]) in BOOSTERS:
            raise UnsupportedModel(f"{error} {LAST_STEP}") from error
        if importlib.util.find_spec("skl2onnx") is None:
            raise UnsupportedModel(
                f"{error} With skl2onnx installed the ONNX export is tried here: pip install skl2onnx."
            ) from error
        return Written(
            _onnx(estimator, model, data, error), ".onnx", "ONNX", SINGLE_PRECISION,
            (f"{error} It was exported to ONNX instead.",),
        )  # fmt: skip


def _skops(estimator: Any) -> bytes:
    import skops.io

    try:
        content: bytes = skops.io.dumps(estimator, compression=zipfile.ZIP_DEFLATED)
    except Exception as error:  # skops asks each object for its state, which raises what it likes
        raise UnsupportedModel(f"skops cannot save this model: {first_line(error)}.") from error
    return content


def _onnx(estimator: Any, model: Model, data: Dataset | None, first: UnsupportedModel) -> bytes:
    """By skl2onnx; one input for each column where the model knows its columns by name."""
    import skl2onnx

    if model.features is None:
        whole, kinds = estimator, _one_matrix(model)
    else:
        whole, kinds = _by_column(estimator, model, data)
    options = {id(whole): {"zipmap": False}} if model.space == "probability" else None
    try:
        with quiet():
            made = skl2onnx.to_onnx(whole, initial_types=kinds, options=options)
    except Exception as error:  # skl2onnx's errors share no base but Exception
        raise UnsupportedModel(f"{first} The ONNX export failed too: {first_line(error)}.") from error
    return bytes(made.SerializeToString())


def _one_matrix(model: Model) -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import FloatTensorType

    return [("X", FloatTensorType([None, model.inputs if isinstance(model.inputs, int) else None]))]


def _by_column(estimator: Any, model: Model, data: Dataset | None) -> tuple[Any, list[tuple[str, Any]]]:
    """skl2onnx gathers columns only before a column transformer: where the model has none, one that passes them on."""
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline

    names = list(model.features or ())
    text = set() if data is None else {name for name in names if _is_text(data.X[name])}
    kinds = [
        (name, StringTensorType([None, 1]) if name in text else FloatTensorType([None, 1])) for name in names
    ]
    first = estimator.steps[0][1] if hasattr(estimator, "steps") else estimator
    if isinstance(first, ColumnTransformer):
        return estimator, kinds
    gather = ColumnTransformer([("columns", "passthrough", names)]).fit(
        pd.DataFrame(np.zeros((2, len(names))), columns=names)
    )
    return make_pipeline(gather, estimator), kinds


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column.dtype)

"""scikit-learn estimators and pipelines, and anything else with their methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from explainers.errors import UnsupportedModel
from explainers.model import Model


def wrap(estimator: Any, classes: tuple[Any, ...] | None, output: str) -> Model:  # noqa: ARG001  # one signature for all
    """An estimator or pipeline; raises `UnsupportedModel` when it is not fitted."""
    own = _classes(estimator)
    if not hasattr(estimator, "predict"):
        raise UnsupportedModel(f"{type(estimator).__name__} has no predict method.")
    columns = _columns(estimator)
    count = getattr(estimator, "n_features_in_", None)
    family = f"scikit-learn {type(_final(estimator)).__name__}"
    if hasattr(estimator, "steps"):
        family += " in a pipeline"
    if own is None:
        return Model(
            _on_rows(estimator.predict, columns, count), "regression", family=family, features=columns,
            estimator=estimator, inputs=count,
        )  # fmt: skip
    raw = getattr(estimator, "decision_function", None)
    raw_predictor = _on_rows(_margins(raw), columns, count) if raw is not None else None
    names = classes or own
    probability = getattr(estimator, "predict_proba", None)
    if probability is not None:
        if raw_predictor is None and _averages_probabilities(estimator):
            raw_predictor = _on_rows(probability, columns, count)
        return Model(
            _on_rows(probability, columns, count), "classification", names, own, "probability", family, columns,
            raw_predictor, estimator=estimator, inputs=count,
        )  # fmt: skip
    if raw_predictor is None:
        raise UnsupportedModel(f"{type(estimator).__name__} gives neither probabilities nor scores, only labels.")
    note = "This classifier gives scores, not probabilities."
    return Model(
        raw_predictor, "classification", names, own, "raw", family, columns, estimator=estimator, notes=(note,),
        inputs=count,
    )  # fmt: skip


def _final(estimator: Any) -> Any:
    steps = getattr(estimator, "steps", None)
    return steps[-1][1] if steps else estimator


def _classes(estimator: Any) -> tuple[Any, ...] | None:
    try:
        found = estimator.classes_
    except AttributeError:
        if getattr(_final(estimator), "_estimator_type", "") == "classifier" and not hasattr(_final(estimator), "n_features_in_"):
            raise UnsupportedModel(f"{type(_final(estimator)).__name__} is not fitted. Fit it before opening.") from None
        return None
    return tuple(v.item() if isinstance(v, np.generic) else v for v in found)


def _columns(estimator: Any) -> tuple[str, ...] | None:
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else tuple(str(name) for name in names)


def _averages_probabilities(estimator: Any) -> bool:
    """Forests and single trees have no other score than their averaged leaf frequencies."""
    return any(word in type(_final(estimator)).__name__ for word in ("Forest", "ExtraTree", "DecisionTree"))


def _margins(decision: Any) -> Any:
    def margins(X: Any) -> np.ndarray:
        score = np.asarray(decision(X))
        return np.column_stack([-score, score]) if score.ndim == 1 else score

    return margins


def _on_rows(method: Any, columns: tuple[str, ...] | None, count: int | None) -> Any:
    """Give an estimator fitted with names the frame in its own column order, any other the plain values."""

    def ask(X: Any) -> Any:
        if not isinstance(X, pd.DataFrame):
            return method(np.asarray(X).reshape(len(X), -1))
        if columns is not None:
            return method(X if tuple(X.columns) == columns else X[list(columns)])
        values = X.to_numpy()
        if count is not None and values.shape[1] != count:
            raise UnsupportedModel(f"The model was trained on {count} columns; these data have {values.shape[1]}.")
        return method(values)

    return ask

"""scikit-learn pipelines taken apart: the steps that prepare columns, and the estimator at the end, sooner where we can."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from explainers.errors import UnsupportedModel
from explainers.staged import Staged
from explainers.trees.columns import origins
from explainers.trees.histogram_boosting import HistogramBoosting


class QuickBoosting:
    """The prediction methods of histogram boosting on plain values, through our compiled loop."""

    def __init__(self, estimator: Any, form: HistogramBoosting) -> None:
        self._estimator, self._form = estimator, form
        if not hasattr(estimator, "classes_"):
            self.predict = self._number
        else:
            self.predict_proba = self._probability
            self.decision_function = self._score

    def _number(self, X: Any) -> np.ndarray:
        return np.asarray(self._estimator._loss.link.inverse(self._raw(X)[:, 0]))

    def _probability(self, X: Any) -> np.ndarray:
        return np.asarray(self._estimator._loss.predict_proba(self._raw(X)))

    def _score(self, X: Any) -> np.ndarray:
        raw = self._raw(X)
        return raw[:, 0] if raw.shape[1] == 1 else raw

    def _raw(self, X: Any) -> np.ndarray:
        values = X.to_numpy(dtype=np.float64, na_value=np.nan) if isinstance(X, pd.DataFrame) else X
        return self._form.raw(np.asarray(values, dtype=np.float64))


def quicker(estimator: Any) -> Any:
    """The estimator itself, or an object with the same prediction methods that answers sooner."""
    form = HistogramBoosting.of(estimator)
    return estimator if form is None else QuickBoosting(estimator, form)


def margins(decision: Any) -> Any:
    """Scores of two classes as two columns."""

    def scores(X: Any) -> np.ndarray:
        score = np.asarray(decision(X))
        return np.column_stack([-score, score]) if score.ndim == 1 else score

    return scores


def in_stages(estimator: Any) -> Staged | None:
    """Both stages of a pipeline whose columns can be traced, or of boosting alone; else ``None``."""
    steps = getattr(estimator, "steps", None)
    final = quicker(steps[-1][1] if steps else estimator)
    if steps is None:
        if not isinstance(final, QuickBoosting):
            return None
        count = estimator.n_features_in_
        return Staged(
            _plain(getattr(estimator, "feature_names_in_", None)), np.arange(count), _finishes(final)
        )
    if (
        len(steps) < 2
        or not hasattr(estimator, "feature_names_in_")
        or hasattr(steps[-1][1], "feature_names_in_")
    ):
        return None
    first = estimator[:-1]
    try:
        found = origins(first, list(range(estimator.n_features_in_)))
    except UnsupportedModel:
        return None
    if len(found) != getattr(steps[-1][1], "n_features_in_", -1):
        return None
    return Staged(
        _transformed(first, list(estimator.feature_names_in_)),
        np.array(found, dtype=np.int64),
        _finishes(final),
    )


def _plain(names: Any) -> Any:
    def prepare(frame: pd.DataFrame) -> np.ndarray:
        chosen = frame if names is None else frame[list(names)]
        return np.asarray(chosen.to_numpy(dtype=np.float64, na_value=np.nan))

    return prepare


def _transformed(first: Any, names: list[str]) -> Any:
    def prepare(frame: pd.DataFrame) -> np.ndarray:
        made = first.transform(frame[names])
        made = made.toarray() if hasattr(made, "toarray") else made
        return np.asarray(made, dtype=np.float64)

    return prepare


def _finishes(final: Any) -> dict[str, Any]:
    """What the last step can be asked for, by space."""
    if hasattr(final, "predict_proba"):
        found = {"probability": final.predict_proba}
        if hasattr(final, "decision_function"):
            found["raw"] = margins(final.decision_function)
        return found
    return (
        {"target": final.predict}
        if not hasattr(final, "decision_function")
        else {"raw": margins(final.decision_function)}
    )

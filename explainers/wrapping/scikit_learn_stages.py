"""scikit-learn pipelines taken apart: the steps that prepare columns, and the estimator at the end, sooner where we can."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd

from explainers.errors import UnsupportedModel
from explainers.staged import Staged
from explainers.trees.columns import origins
from explainers.trees.converting import convert
from explainers.trees.converting.rows import preparing
from explainers.trees.ensemble import TreeEnsemble

#: Families whose trees answer sooner in our form. Isolation forests answer labels, which are not a sum.
QUICK = frozenset(
    {"BaseDecisionTree", "ForestClassifier", "ForestRegressor", "BaseGradientBoosting", "BaseHistGradientBoosting"}
)  # fmt: skip


class QuickTrees:
    """The prediction methods of a tree ensemble through our compiled loop; what is not plain numbers is left to the library.

    The trees are read when they are first asked. `prepare` makes rows for `on_rows`, which has the same methods.
    """

    def __init__(self, estimator: Any, form: Callable[[], TreeEnsemble | None] | None = None) -> None:
        self._estimator = estimator
        self._form = form or cache(lambda: _converted(estimator))
        self._encodes = form is None and getattr(estimator, "_preprocessor", None) is not None
        if not hasattr(estimator, "classes_"):
            self.predict = self._number
            return
        self.predict_proba = self._probability
        if hasattr(estimator, "decision_function"):
            self.decision_function = self._score

    @property
    def on_rows(self) -> QuickTrees:
        """The same methods, asked with rows that `prepare` made."""
        return QuickTrees(self._estimator, self._form)

    def prepare(self, X: Any) -> np.ndarray:
        """The columns that the trees ask, in the estimator's order."""
        return preparing(self._estimator)(X)

    def _number(self, X: Any) -> np.ndarray:
        rows, form = self._rows(X), self._form()
        return np.asarray(
            self._estimator.predict(X) if rows is None or form is None else form.predict(rows)[:, 0]
        )

    def _probability(self, X: Any) -> np.ndarray:
        rows, form = self._rows(X), self._form()
        return np.asarray(
            self._estimator.predict_proba(X) if rows is None or form is None else form.predict(rows)
        )

    def _score(self, X: Any) -> np.ndarray:
        rows, form = self._rows(X), self._form()
        if rows is None or form is None:
            return np.asarray(self._estimator.decision_function(X))
        raw = form.raw(rows)
        return raw[:, 0] if raw.shape[1] == 1 else raw

    def _rows(self, X: Any) -> np.ndarray | None:
        """The rows as the trees ask them; ``None`` where the library must answer, or say what is wrong with them."""
        if self._encodes:
            return self.prepare(X)
        if isinstance(X, pd.DataFrame):
            names = getattr(self._estimator, "feature_names_in_", X.columns)
            if list(names) != list(X.columns) or not all(map(pd.api.types.is_numeric_dtype, X.dtypes)):
                return None
            X = X.to_numpy(dtype=np.float64, na_value=np.nan)
        if not isinstance(X, np.ndarray) or X.dtype.kind not in "biuf" or X.ndim != 2:
            return None
        X = X if X.dtype == np.float32 else X.astype(np.float64, copy=False)
        return X if X.shape[1] == self._estimator.n_features_in_ and self._takes(X) else None

    def _takes(self, X: np.ndarray) -> bool:
        """Whether the library takes these numbers: trees of single precision refuse infinity, some a missing value."""
        if hasattr(self._estimator, "_predictors"):
            return True
        finite = np.abs(X) <= np.finfo(np.float32).max
        return bool(finite.all() or (self._takes_missing and (finite | np.isnan(X)).all()))

    @cached_property
    def _takes_missing(self) -> bool:
        from sklearn.utils import get_tags

        return bool(get_tags(self._estimator).input_tags.allow_nan)


def _converted(estimator: Any) -> TreeEnsemble | None:
    try:
        return convert(estimator)
    except UnsupportedModel:
        return None


def quicker(estimator: Any) -> Any:
    """The estimator itself, or an object with the same prediction methods that answers sooner."""
    ours = any(
        base.__name__ in QUICK and base.__module__.startswith("sklearn.") for base in type(estimator).__mro__
    )
    return QuickTrees(estimator) if ours and getattr(estimator, "n_outputs_", 1) == 1 else estimator


def margins(decision: Any) -> Any:
    """Scores of two classes as two columns."""

    def scores(X: Any) -> np.ndarray:
        score = np.asarray(decision(X))
        return np.column_stack([-score, score]) if score.ndim == 1 else score

    return scores


def in_stages(estimator: Any, quick: Any) -> Staged | None:
    """Both stages of a pipeline whose columns can be traced, or of trees alone; else ``None``."""
    steps = getattr(estimator, "steps", None)
    final = quicker(steps[-1][1]) if steps else quick
    if steps is None:
        if not isinstance(final, QuickTrees):
            return None
        return Staged(final.prepare, np.arange(estimator.n_features_in_), _finishes(final.on_rows))
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

"""scikit-learn estimators and pipelines, and anything else with their methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from explainers.errors import UnsupportedModel
from explainers.explanation import Output
from explainers.model import Model
from explainers.wrapping.scikit_learn_stages import in_stages, margins, quicker


def wrap(estimator: Any, classes: tuple[Any, ...] | None, output: Output) -> Model:  # noqa: ARG001  # one signature for all
    """An estimator or pipeline; raises `UnsupportedModel` when it is not fitted."""
    _require_fitted(estimator)
    own = _classes(estimator)
    if not hasattr(estimator, "predict"):
        raise UnsupportedModel(f"{type(estimator).__name__} has no predict method.")
    columns = _columns(estimator)
    count = getattr(estimator, "n_features_in_", None)
    quick = quicker(estimator)
    staged = in_stages(estimator, quick)
    family = f"scikit-learn {type(_final(estimator)).__name__}"
    if hasattr(estimator, "steps"):
        family += " in a pipeline"
    if own is None:
        detects = _detects_outliers(estimator)
        return Model(
            _on_rows(estimator.score_samples if detects else quick.predict, columns, count), "regression",
            family=family, features=columns, estimator=estimator, inputs=count, staged=None if detects else staged,
            notes=("The prediction is how usual a case is; the lower, the more unusual.",) if detects else (),
        )  # fmt: skip
    if classes is not None and len(classes) != len(own):
        raise UnsupportedModel(f"The model has {len(own)} classes; {len(classes)} names were given.")
    raw = getattr(quick, "decision_function", None)
    raw_predictor = _on_rows(margins(raw), columns, count) if raw is not None else None
    names = classes or own
    probability = getattr(quick, "predict_proba", None)
    if probability is not None:
        predictor = _on_rows(probability, columns, count)
        if raw_predictor is None and _averages_probabilities(estimator):
            raw_predictor = predictor
        return Model(
            predictor, "classification", names, own, "probability", family, columns,
            raw_predictor, estimator=estimator, inputs=count, staged=staged,
        )  # fmt: skip
    if raw_predictor is None:
        raise UnsupportedModel(
            f"{type(estimator).__name__} gives neither probabilities nor scores, only labels."
        )
    note = "This classifier gives scores, not probabilities."
    return Model(
        raw_predictor, "classification", names, own, "raw", family, columns, estimator=estimator, notes=(note,),
        inputs=count, staged=staged,
    )  # fmt: skip


def _final(estimator: Any) -> Any:
    steps = getattr(estimator, "steps", None)
    return steps[-1][1] if steps else estimator


def _detects_outliers(estimator: Any) -> bool:
    """Whether `predict` says only 1 or -1, and `score_samples` how usual a case is."""
    from sklearn.base import is_outlier_detector

    return is_outlier_detector(_final(estimator)) and hasattr(estimator, "score_samples")


def _require_fitted(estimator: Any) -> None:
    """Only scikit-learn's own objects can be asked; others show it when they predict."""
    from sklearn.base import BaseEstimator
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if not isinstance(estimator, BaseEstimator):
        return
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise UnsupportedModel(
            f"{type(_final(estimator)).__name__} is not fitted. Fit it before opening."
        ) from error
    except TypeError:  # an object without fit has nothing to be fitted
        return


def _classes(estimator: Any) -> tuple[Any, ...] | None:
    found = getattr(estimator, "classes_", None)
    if found is None:
        return None
    if isinstance(found, list) and any(isinstance(part, np.ndarray) for part in found):
        raise UnsupportedModel(
            f"This model predicts {len(found)} targets at once. Open one model for each target."
        )
    return tuple(v.item() if isinstance(v, np.generic) else v for v in found)


def _columns(estimator: Any) -> tuple[str, ...] | None:
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else tuple(str(name) for name in names)


def _averages_probabilities(estimator: Any) -> bool:
    """Forests and single trees have no other score than their averaged leaf frequencies."""
    return any(word in type(_final(estimator)).__name__ for word in ("Forest", "ExtraTree", "DecisionTree"))


def _on_rows(method: Any, columns: tuple[str, ...] | None, count: int | None) -> Any:
    """Give an estimator fitted with names the frame in its own column order, any other the plain values."""

    def ask(X: Any) -> Any:
        if isinstance(X, list) and X and isinstance(X[0], str):
            return method(X)  # a pipeline that begins with a vectorizer
        if not isinstance(X, pd.DataFrame):
            return method(np.asarray(X).reshape(len(X), -1))
        if columns is not None:
            return method(X if tuple(X.columns) == columns else X[list(columns)])
        values = X.to_numpy()
        if count is not None and values.shape[1] != count:
            raise UnsupportedModel(
                f"The model was trained on {count} columns; these data have {values.shape[1]}."
            )
        return method(values)

    return ask

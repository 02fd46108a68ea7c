"""What a data set holds, as the numbers that an estimator's trees ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from explainers.errors import UnsupportedModel

Prepare = Callable[[Any], Float[np.ndarray, "n c"]]


def preparing(estimator: Any) -> Prepare:
    """What makes the rows for ``convert(estimator)``: columns in its order, categories as the numbers it gives them.

    It takes a frame or an array, and raises `UnsupportedModel` for text that the estimator has no numbers for.
    """
    packages = {base.__module__.split(".")[0] for base in type(estimator).__mro__}
    if "xgboost" in packages:
        from explainers.trees.converting import xgboost_trees

        return xgboost_trees.columns(xgboost_trees.parsed_booster(estimator)).matrix
    if "lightgbm" in packages:
        from explainers.trees.converting import lightgbm_trees

        text = getattr(estimator, "booster_", estimator).model_to_string()
        return lightgbm_trees.columns(lightgbm_trees.fields(text)).matrix
    if getattr(estimator, "_preprocessor", None) is not None and hasattr(estimator, "_predictors"):
        from explainers.trees.converting.scikit_learn_histograms import encoded

        return lambda X: encoded(estimator, X)
    names = getattr(estimator, "feature_names_in_", getattr(estimator, "feature_names_", None))
    unasked: list[int] = getattr(
        estimator, "get_cat_feature_indices", list
    )()  # CatBoost's, where no tree asks them
    return lambda X: _numbers(X, names, unasked)


def _numbers(X: Any, names: Any, unasked: list[int]) -> Float[np.ndarray, "n c"]:
    if not isinstance(X, pd.DataFrame):
        return np.asarray(X, dtype=np.float64).reshape(len(X), -1)
    frame = X if names is None or not set(names) <= set(X.columns) else X[list(names)]
    if unasked:
        frame = frame.copy()
        frame.isetitem(unasked, [np.nan] * len(unasked))
    try:
        return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        text = [str(name) for name, kind in frame.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
        raise UnsupportedModel(
            f"The trees ask numbers; these columns hold text: {', '.join(text[:8])}. Encode them first."
        ) from error

"""XGBoost, LightGBM and CatBoost through their own libraries: their scikit-learn classes and their boosters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from explainers.errors import UnsupportedModel
from explainers.model import Model, Predict


def wrap(obj: Any, classes: tuple[Any, ...] | None, output: str) -> Model:
    """A fitted model of one of the three libraries."""
    package = type(obj).__mro__[0].__module__.split(".")[0]
    bases = {base.__module__.split(".")[0] for base in type(obj).__mro__}
    if "xgboost" in bases:
        return _xgboost(obj, classes)
    if "lightgbm" in bases:
        return _lightgbm(obj, classes)
    if "catboost" in bases:
        return _catboost(obj, classes)
    raise UnsupportedModel(f"Cannot wrap {package}.{type(obj).__name__}.")


def _xgboost(obj: Any, classes: tuple[Any, ...] | None) -> Model:
    import json

    import xgboost

    booster = obj if isinstance(obj, xgboost.Booster) else obj.get_booster()
    own = None if isinstance(obj, xgboost.Booster) else getattr(obj, "classes_", None)
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    names = tuple(booster.feature_names) if booster.feature_names else None
    categorical = any(kind == "c" for kind in booster.feature_types or ())
    best = getattr(booster, "best_iteration", None) if booster.attributes().get("best_iteration") else None
    rounds = (0, best + 1) if best is not None else (0, 0)
    expected = booster.num_features()

    def ask(margin: bool) -> Predict:
        def predictor(X: Any) -> np.ndarray:
            frame = _ordered(X, names)
            if frame.shape[1] != expected:  # the library itself predicts silently from too few columns
                raise UnsupportedModel(f"The model was trained on {expected} columns; these data have {frame.shape[1]}.")
            matrix = xgboost.DMatrix(frame if names else np.asarray(frame), enable_categorical=categorical, feature_names=list(names) if names else None)
            return np.asarray(booster.predict(matrix, output_margin=margin, iteration_range=rounds))

        return predictor

    if objective == "multi:softmax":
        raise UnsupportedModel("This XGBoost model predicts labels only (multi:softmax). Train it with multi:softprob.")
    family = f"XGBoost ({objective})"
    return _boosted(objective.startswith(("binary:", "multi:")), ask, own, classes, family, names, obj)


def _lightgbm(obj: Any, classes: tuple[Any, ...] | None) -> Model:
    import lightgbm

    booster = obj if isinstance(obj, lightgbm.Booster) else obj.booster_
    own = None if isinstance(obj, lightgbm.Booster) else getattr(obj, "classes_", None)
    objective = str(booster.params.get("objective") or _lightgbm_objective(booster)).split(" ")[0]
    names = tuple(booster.feature_name())
    unnamed = all(name == f"Column_{i}" for i, name in enumerate(names))
    expected = len(names)

    def ask(margin: bool) -> Predict:
        def predictor(X: Any) -> np.ndarray:
            frame = _ordered(X, None if unnamed else names, rename=_lightgbm_name)
            if frame.shape[1] != expected:
                raise UnsupportedModel(f"The model was trained on {expected} columns; these data have {frame.shape[1]}.")
            return np.asarray(booster.predict(frame, raw_score=margin))

        return predictor

    family = f"LightGBM ({objective})"
    classifies = objective in ("binary", "multiclass", "multiclassova", "cross_entropy")
    return _boosted(classifies, ask, own, classes, family, None if unnamed else names, obj, rename=_lightgbm_name)


def _lightgbm_objective(booster: Any) -> str:
    for line in booster.model_to_string(num_iteration=1).splitlines():
        if line.startswith("objective="):
            return str(line.removeprefix("objective="))
    return "regression"


def _lightgbm_name(name: str) -> str:
    """LightGBM replaces blanks in the names it stores."""
    return name.replace(" ", "_")


def _catboost(obj: Any, classes: tuple[Any, ...] | None) -> Model:
    own = getattr(obj, "classes_", None)
    own = None if own is None or len(own) == 0 else own
    names = tuple(obj.feature_names_) if obj.feature_names_ else None

    def ask(margin: bool) -> Predict:
        kind = "RawFormulaVal" if margin or own is None else "Probability"
        return lambda X: np.asarray(obj.predict(_ordered(X, names), prediction_type=kind))

    return _boosted(own is not None, ask, own, classes, f"CatBoost {type(obj).__name__}", names, obj)


def _boosted(
    classifies: bool,
    ask: Any,
    own: Any,
    classes: tuple[Any, ...] | None,
    family: str,
    names: tuple[str, ...] | None,
    obj: Any,
    rename: Any = None,
) -> Model:
    """The common end: a regression, or a classifier with probabilities and margins."""
    if not classifies:
        return Model(ask(False), "regression", family=family, features=names if rename is None else None, estimator=obj)
    labels = tuple(v.item() if isinstance(v, np.generic) else v for v in own) if own is not None else None
    given = classes or labels
    if given is None:
        given = ("0", "1") if not _multiclass(ask, names, obj) else tuple(str(i) for i in range(_outputs(obj)))
        labels = tuple(range(len(given)))
    return Model(
        ask(False), "classification", given, labels or given, "probability", family,
        names if rename is None else None, _two_margins(ask(True), len(given)), estimator=obj,
    )  # fmt: skip


def _multiclass(ask: Any, names: Any, obj: Any) -> bool:
    return _outputs(obj) > 2


def _outputs(obj: Any) -> int:
    if hasattr(obj, "num_model_per_iteration"):
        return max(2, int(obj.num_model_per_iteration()))
    if hasattr(obj, "save_config"):
        import json

        return max(2, int(json.loads(obj.save_config())["learner"]["learner_model_param"]["num_class"]))
    return 2


def _two_margins(predictor: Predict, outputs: int) -> Predict:
    def margins(X: Any) -> np.ndarray:
        score = np.asarray(predictor(X))
        return np.column_stack([-score, score]) if score.ndim == 1 and outputs == 2 else score

    return margins


def _ordered(X: Any, names: tuple[str, ...] | None, rename: Any = None) -> pd.DataFrame:
    """The frame in the model's own column order."""
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X).reshape(len(X), -1))
    if names is None or tuple(frame.columns) == names:
        return frame
    if rename is not None:
        by_stored = {rename(str(column)): column for column in frame.columns}
        missing = [name for name in names if name not in by_stored]
        if not missing:
            return frame[[by_stored[name] for name in names]]
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise UnsupportedModel(f"The model needs columns that these data lack: {', '.join(map(repr, missing[:8]))}.")
    return frame[list(names)]

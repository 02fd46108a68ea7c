"""XGBoost, LightGBM and CatBoost through their own libraries: their scikit-learn classes and their boosters."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from explainers.compatibility import stored_name
from explainers.errors import UnsupportedModel
from explainers.explanation import Output
from explainers.model import Model, Predict

#: XGBoost objectives that answer labels: nothing is left to explain but jumps.
LABELS_ONLY = {"multi:softmax": "multi:softprob", "binary:hinge": "binary:logistic"}


@dataclasses.dataclass(frozen=True)
class Booster:
    """What is common to the three libraries: who asks (margins or not), and what is known of the outputs.

    Attributes:
        ask: ``ask(margin)`` is a predictor.
        classifies: whether the outputs are classes.
        outputs: how many, at least two for a classifier.
        own: the classes as the library's own object names them, or ``None``.
    """

    ask: Callable[[bool], Predict]
    classifies: bool
    outputs: int
    own: Any
    family: str
    features: tuple[str, ...] | None
    inputs: int
    estimator: Any

    def model(self, classes: tuple[Any, ...] | None) -> Model:
        """A regression, or a classifier with probabilities and margins."""
        if not self.classifies:
            return Model(
                self.ask(False), "regression", family=self.family, features=self.features, estimator=self.estimator,
                inputs=self.inputs,
            )  # fmt: skip
        own = (
            None
            if self.own is None
            else tuple(v.item() if isinstance(v, np.generic) else v for v in self.own)
        )
        names = classes or own or tuple(str(i) for i in range(self.outputs))
        if len(names) != self.outputs:
            raise UnsupportedModel(f"The model has {self.outputs} classes; {len(names)} names were given.")
        return Model(
            self.ask(False), "classification", names, own or tuple(range(self.outputs)), "probability", self.family,
            self.features, _two_margins(self.ask(True)), estimator=self.estimator, inputs=self.inputs,
        )  # fmt: skip


def wrap(obj: Any, classes: tuple[Any, ...] | None, output: Output) -> Model:  # noqa: ARG001  # one signature for all
    """A fitted model of one of the three libraries."""
    bases = {base.__module__.split(".")[0] for base in type(obj).__mro__}
    for package, read in (("xgboost", _xgboost), ("lightgbm", _lightgbm), ("catboost", _catboost)):
        if package in bases:
            return read(obj, classes)
    raise UnsupportedModel(f"Cannot wrap {type(obj).__module__}.{type(obj).__name__}.")


def _xgboost(obj: Any, classes: tuple[Any, ...] | None) -> Model:
    import xgboost

    own = None
    if isinstance(obj, xgboost.Booster):
        booster = obj
    else:
        _require_fitted(obj, obj.__sklearn_is_fitted__())
        booster, own = obj.get_booster(), getattr(obj, "classes_", None)
    config = json.loads(booster.save_config())["learner"]
    objective = config["objective"]["name"]
    if objective in LABELS_ONLY:
        raise UnsupportedModel(
            f"This XGBoost model predicts labels only ({objective}). Train it with {LABELS_ONLY[objective]}."
        )
    linear = config["gradient_booster"]["name"] == "gblinear"
    names = tuple(booster.feature_names) if booster.feature_names else None
    categorical = "c" in (booster.feature_types or ())
    best = booster.attributes().get("best_iteration")
    rounds = (0, int(best) + 1) if best is not None and not linear else (0, 0)
    expected = booster.num_features()

    def ask(margin: bool) -> Predict:
        def predictor(X: Any) -> np.ndarray:
            # the library itself predicts silently from too few columns
            frame = _text_as_category(_sized(_ordered(X, names), expected), categorical)
            matrix = xgboost.DMatrix(
                frame if names or categorical else np.asarray(frame, dtype=np.float64),
                enable_categorical=categorical,
                feature_names=list(names) if names else None,
            )
            return np.asarray(booster.predict(matrix, output_margin=margin, iteration_range=rounds))

        return predictor

    read = Booster(
        ask,
        classifies=objective.startswith(("binary:", "multi:")),
        outputs=max(2, int(config["learner_model_param"]["num_class"])),
        own=own,
        family=f"XGBoost{' linear' if linear else ''} ({objective})",
        features=names,
        inputs=expected,
        estimator=None if linear else obj,
    )
    if objective == "binary:logitraw":  # its predictions are margins
        read = dataclasses.replace(read, ask=lambda margin: ask(True) if margin else _sigmoid(ask(True)))
    return read.model(classes)


def _lightgbm(obj: Any, classes: tuple[Any, ...] | None) -> Model:
    import lightgbm

    own = None
    if isinstance(obj, lightgbm.Booster):
        booster = obj
    else:
        _require_fitted(obj, obj.__sklearn_is_fitted__())
        booster, own = obj.booster_, getattr(obj, "classes_", None)
    objective = str(booster.params.get("objective") or _lightgbm_objective(booster)).split(" ")[0]
    stored = tuple(booster.feature_name())
    names = None if all(name == f"Column_{i}" for i, name in enumerate(stored)) else stored
    categorical = bool(booster.pandas_categorical)

    def ask(margin: bool) -> Predict:
        def predictor(X: Any) -> np.ndarray:
            frame = _text_as_category(_sized(_ordered(X, names), len(stored)), categorical)
            return np.asarray(booster.predict(frame, raw_score=margin))

        return predictor

    return Booster(
        ask,
        classifies=objective in ("binary", "multiclass", "multiclassova", "cross_entropy"),
        outputs=max(2, int(booster.num_model_per_iteration())),
        own=own,
        family=f"LightGBM ({objective})",
        features=names,
        inputs=len(stored),
        estimator=obj,
    ).model(classes)


def _lightgbm_objective(booster: Any) -> str:
    for line in booster.model_to_string(num_iteration=1).splitlines():
        if line.startswith("objective="):
            return str(line.removeprefix("objective="))
    return "regression"


def _catboost(obj: Any, classes: tuple[Any, ...] | None) -> Model:
    _require_fitted(obj, obj.is_fitted())
    own = obj.classes_
    own = None if own is None or len(own) == 0 else own
    stored = tuple(obj.feature_names_ or ())
    names = None if all(name == str(i) for i, name in enumerate(stored)) else stored

    def ask(margin: bool) -> Predict:
        # for a regression its own answer, which is no raw score where it counts (Poisson, Tweedie)
        kind = (
            {"prediction_type": "RawFormulaVal"}
            if margin
            else {}
            if own is None
            else {"prediction_type": "Probability"}
        )
        return lambda X: np.asarray(obj.predict(_sized(_ordered(X, names), len(stored)), **kind))

    return Booster(
        ask,
        classifies=own is not None,
        outputs=2 if own is None else max(2, len(own)),
        own=own,
        family=f"CatBoost {type(obj).__name__}",
        features=names,
        inputs=len(stored),
        estimator=obj,
    ).model(classes)


def _require_fitted(obj: Any, fitted: bool) -> None:
    if not fitted:
        raise UnsupportedModel(f"{type(obj).__name__} is not fitted. Fit it before opening.")


def _two_margins(predictor: Predict) -> Predict:
    def margins(X: Any) -> np.ndarray:
        score = np.asarray(predictor(X))
        return np.column_stack([-score, score]) if score.ndim == 1 else score

    return margins


def _sigmoid(predictor: Predict) -> Predict:
    return lambda X: 1.0 / (1.0 + np.exp(-np.asarray(predictor(X), dtype=np.float64)))


def _ordered(X: Any, names: tuple[str, ...] | None) -> pd.DataFrame:
    """The frame in the model's own column order; LightGBM's stored names have no blanks."""
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X).reshape(len(X), -1))
    if names is None or not isinstance(X, pd.DataFrame) or tuple(frame.columns) == names:
        return frame
    held = {stored_name(str(column)): column for column in frame.columns} | {str(c): c for c in frame.columns}
    missing = [name for name in names if name not in held]
    if missing:
        raise UnsupportedModel(
            f"The model needs columns that these data lack: {', '.join(map(repr, missing[:8]))}."
        )
    return frame[[held[name] for name in names]]


def _sized(frame: Any, expected: int) -> Any:
    if frame.shape[1] != expected:
        raise UnsupportedModel(
            f"The model was trained on {expected} columns; these data have {frame.shape[1]}."
        )
    return frame


def _text_as_category(frame: pd.DataFrame, categorical: bool) -> pd.DataFrame:
    """Text for a model trained on pandas categories: the libraries recode by the categories they have stored."""
    if not categorical:
        return frame
    text = [
        name for name, kind in frame.dtypes.items() if isinstance(kind, pd.StringDtype) or kind.kind == "O"
    ]
    return frame.astype(dict.fromkeys(text, "category")) if text else frame

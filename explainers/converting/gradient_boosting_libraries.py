"""XGBoost, LightGBM and CatBoost objects, in their scikit-learn classes too, to the libraries' own formats."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from explainers.converting.choosing import library_of
from explainers.converting.subject import SAME_ARITHMETIC, SINGLE_PRECISION, Subject, Written
from explainers.model import Model


def subject(obj: Any, classes: tuple[Any, ...] | None) -> Subject:
    """A fitted booster or wrapper; raises `UnsupportedModel` where it is not fitted or answers labels only."""
    model = Model.wrap(obj, classes)
    write = {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost}[library_of(obj)]
    return Subject(model, lambda _: write(obj), width=model.inputs if isinstance(model.inputs, int) else None)


def _xgboost(obj: Any) -> Written:
    booster = obj.get_booster() if hasattr(obj, "get_booster") else obj
    # the library adds leaves up in single precision, the file's reader in double
    return Written(bytes(booster.save_raw("ubj")), ".ubj", "XGBoost UBJ", SINGLE_PRECISION)


def _lightgbm(obj: Any) -> Written:
    booster = getattr(obj, "booster_", obj)
    return Written(booster.model_to_string().encode("utf-8"), ".txt", "LightGBM text", SAME_ARITHMETIC)


def _catboost(obj: Any) -> Written:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        obj.save_model(str(path), format="cbm")
        return Written(path.read_bytes(), ".cbm", "CatBoost cbm", SAME_ARITHMETIC)

"""Fitted models of every library become `TreeEnsemble`s: one file per library, imported when an object comes from it."""

from __future__ import annotations

import importlib
from typing import Any

from explainers.errors import UnsupportedModel
from explainers.trees.ensemble import TreeEnsemble

#: Top-level package of an object's class (or of one of its bases) -> module of this package and its reader. XGBoost's
#: and LightGBM's classes are scikit-learn's as well, so the order counts.
READERS = {
    "xgboost": ("xgboost_trees", "of_booster"),
    "lightgbm": ("lightgbm_trees", "of_booster"),
    "catboost": ("catboost_trees", "of_model"),
    "onnx": ("onnx_trees", "of_model"),
    "sklearn": ("scikit_learn", "of_estimator"),
}


def convert(estimator: Any) -> TreeEnsemble:
    """The trees of a fitted estimator, booster or ONNX model.

    The columns are the estimator's own, in its order; `explainers.trees.converting.rows.preparing` makes the rows. Raises
    `UnsupportedModel` where there are no trees, or none that sums of leaves describe, and says why.
    """
    if isinstance(estimator, TreeEnsemble):
        return estimator
    packages = {base.__module__.split(".")[0] for base in type(estimator).__mro__}
    if type(estimator).__module__ == "explainers.onnx.graph":
        packages.add("onnx")
    for package, (module, reader) in READERS.items():
        if package in packages:
            found = importlib.import_module(f"{__name__}.{module}")
            ensemble: TreeEnsemble = getattr(found, reader)(estimator)
            return ensemble
    raise UnsupportedModel(f"{type(estimator).__name__} has no trees that can be read. Use KernelShap.")


def refusal(estimator: Any) -> str | None:
    """Why the estimator has no tensor form, in a sentence; ``None`` where it has one."""
    try:
        convert(estimator)
    except UnsupportedModel as error:
        return str(error)
    return None

"""Objects in memory become `Model`s: one file per library, imported only when the object comes from it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from explainers.errors import UnsupportedModel
from explainers.explanation import Output
from explainers.model import Model
from explainers.wrapping.declared import agreeing, require_sense

#: Top-level package of an object's class (or of one of its bases) -> module of this package.
LIBRARIES = {
    "xgboost": "gradient_boosting_libraries",
    "lightgbm": "gradient_boosting_libraries",
    "catboost": "gradient_boosting_libraries",
    "torch": "torch_module",
    "sklearn": "scikit_learn",
}


def wrap(obj: Any, classes: tuple[Any, ...] | None, output: Output) -> Model:
    """Find the library an object comes from and let its file wrap it; any other callable is taken as it is."""
    require_sense(output, classes)
    if isinstance(obj, Model):
        return agreeing(obj if classes is None else obj.with_classes(classes), output)
    packages = {base.__module__.split(".")[0] for base in type(obj).__mro__}
    for package, module in LIBRARIES.items():
        if package in packages:
            made = _wrapper(module)(obj, classes, output)
            return made if module == "torch_module" else agreeing(made, output)
    if hasattr(obj, "predict"):
        return agreeing(_wrapper("scikit_learn")(obj, classes, output), output)
    if callable(obj):
        return _wrapper("plain_callable")(obj, classes, output)
    raise UnsupportedModel(
        f"Cannot wrap {type(obj).__name__}. Give a scikit-learn, XGBoost, LightGBM or CatBoost model, a torch module, "
        "or a function that takes rows and returns predictions."
    )


def _wrapper(module: str) -> Callable[[Any, tuple[Any, ...] | None, Output], Model]:
    wrapper: Callable[[Any, tuple[Any, ...] | None, Output], Model] = importlib.import_module(
        f"explainers.wrapping.{module}"
    ).wrap
    return wrapper


def is_tree_model(estimator: Any) -> bool:
    """Whether an estimator (or the last step of a pipeline) is a tree or an ensemble of trees."""
    steps = getattr(estimator, "steps", None)
    final = steps[-1][1] if steps else estimator
    name = type(final).__name__
    return name in TREE_MODELS or any(base.__name__ in TREE_MODELS for base in type(final).__mro__)


#: Classes whose structure shap can read exactly.
TREE_MODELS = frozenset(
    {
        "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
        "RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor",
        "GradientBoostingClassifier", "GradientBoostingRegressor",
        "HistGradientBoostingClassifier", "HistGradientBoostingRegressor",
        "Booster", "XGBModel", "LGBMModel", "CatBoost", "TreeEnsemble",
    }
)  # fmt: skip

"""scikit-learn's trees: which file reads which family."""

from __future__ import annotations

from typing import Any

from explainers.errors import UnsupportedModel
from explainers.trees.converting import (
    scikit_learn_boosting,
    scikit_learn_forests,
    scikit_learn_histograms,
    scikit_learn_isolation,
)
from explainers.trees.ensemble import TreeEnsemble

FAMILIES = {
    "BaseDecisionTree": scikit_learn_forests.of_tree,
    "IsolationForest": scikit_learn_isolation.of_forest,
    "ForestClassifier": scikit_learn_forests.of_forest,
    "ForestRegressor": scikit_learn_forests.of_forest,
    "BaseGradientBoosting": scikit_learn_boosting.of_boosting,
    "BaseHistGradientBoosting": scikit_learn_histograms.of_boosting,
}


def of_estimator(estimator: Any) -> TreeEnsemble:
    """The trees of a fitted estimator; raises `UnsupportedModel` for every other kind, and for what is not fitted."""
    name = type(estimator).__name__
    bases = [base.__name__ for base in type(estimator).__mro__]
    reader = next((FAMILIES[base] for base in bases if base in FAMILIES), None)
    if reader is None:
        raise UnsupportedModel(f"{name} is not a sum of trees that can be read. Use KernelShap.")
    if not hasattr(estimator, "n_features_in_"):
        raise UnsupportedModel(f"{name} is not fitted. Fit it before opening.")
    if getattr(estimator, "n_outputs_", 1) != 1:
        raise UnsupportedModel(
            f"This {name} predicts {estimator.n_outputs_} targets at once. Fit one model for each target."
        )
    classes = getattr(estimator, "classes_", None)
    if classes is not None and len(classes) < 2:
        raise UnsupportedModel(f"This {name} knows one class only, so its prediction never changes.")
    return reader(estimator)

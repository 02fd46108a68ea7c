"""scikit-learn's `GradientBoosting*`: sums of small trees on top of a first prediction."""

from __future__ import annotations

from typing import Any

import numpy as np

from explainers.errors import UnsupportedModel
from explainers.trees.converting.scikit_learn_forests import as_tree
from explainers.trees.ensemble import Link, TreeEnsemble

#: The name of the loss' link function -> link and slope.
LINKS: dict[str, tuple[Link, float]] = {
    "IdentityLink": ("identity", 1.0),
    "LogLink": ("exp", 1.0),
    "LogitLink": ("logistic", 1.0),
    "HalfLogitLink": ("logistic", 2.0),
    "MultinomialLogit": ("softmax", 1.0),
}

#: First predictions that are the same for every row.
CONSTANT = ("prior", "most_frequent", "constant", "mean", "median", "quantile")


def of_boosting(estimator: Any) -> TreeEnsemble:
    """A `GradientBoosting*`; raises `UnsupportedModel` where it starts from another model's prediction."""
    name = f"scikit-learn {type(estimator).__name__}"
    columns = int(estimator.n_features_in_)
    if estimator.init_ != "zero" and getattr(estimator.init_, "strategy", None) not in CONSTANT:
        raise UnsupportedModel(
            f"This {name} starts from the prediction of another model ({type(estimator.init_).__name__}), which is no "
            "sum of trees. Use KernelShap."
        )
    base = np.asarray(estimator._raw_predict_init(np.zeros((1, columns), dtype=np.float32)))[0]
    trees = [
        as_tree(member.tree_, estimator.learning_rate * member.tree_.value[:, 0, 0], output)
        for stage in estimator.estimators_
        for output, member in enumerate(stage)
    ]
    link, slope = link_of(estimator._loss, name)
    return TreeEnsemble.of(trees, base, columns, single=True, link=link, slope=slope, family=name)


def link_of(loss: Any, family: str) -> tuple[Link, float]:
    """From the sum to the prediction; raises `UnsupportedModel` for a link that is not known."""
    name = type(loss.link).__name__
    if name not in LINKS:
        raise UnsupportedModel(
            f"The loss of {family} has the link {name}, which is not known here. Use KernelShap."
        )
    return LINKS[name]

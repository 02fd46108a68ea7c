"""scikit-learn's `IsolationForest`: the sum of path lengths; its prediction is `score_samples`, low where anomalous.

A leaf adds the questions on the way to it and the expected length of the way that its training rows would still need
(Liu, Ting and Zhou, 2008).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from explainers.trees.converting.scikit_learn_forests import as_tree
from explainers.trees.ensemble import TreeEnsemble


def of_forest(estimator: Any) -> TreeEnsemble:
    """An `IsolationForest`."""
    trees = [
        as_tree(member.tree_, _lengths(member.tree_), columns=columns)
        for member, columns in zip(estimator.estimators_, estimator.estimators_features_, strict=True)
    ]
    scale = len(trees) * float(average_path(np.array([float(estimator._max_samples)]))[0])
    # A tree of one training row asks nothing, and every score is -1/2 by the library's definition.
    base, slope = (0.0, 1 / scale) if scale else (1.0, 1.0)
    return TreeEnsemble.of(
        trees, base, int(estimator.n_features_in_), single=True, link="isolation", slope=slope,
        family="scikit-learn IsolationForest",
    )  # fmt: skip


def average_path(rows: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The average length of the way to one of so many rows in a random tree."""
    several = np.maximum(rows, 3.0)
    length = 2.0 * (np.log(several - 1.0) + np.euler_gamma) - 2.0 * (several - 1.0) / several
    return np.asarray(np.where(rows <= 1, 0.0, np.where(rows <= 2, 1.0, length)))


def _lengths(tree: Any) -> Float[np.ndarray, " n"]:
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # children stand behind their parents
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depth[child] = depth[node] + 1
    return np.asarray(depth + average_path(np.asarray(tree.n_node_samples, dtype=np.float64)))

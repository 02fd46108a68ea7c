"""scikit-learn's single trees and the forests that average them; a classifier's average is of probabilities.

The library rounds values to single precision and compares them with a double-precision threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from explainers.trees.ensemble import Link, Tree, TreeEnsemble
from explainers.trees.single_precision import at_most


def of_tree(estimator: Any) -> TreeEnsemble:
    """A `DecisionTree*` or `ExtraTree*`."""
    return _averaged([estimator], estimator)


def of_forest(estimator: Any) -> TreeEnsemble:
    """A `RandomForest*` or `ExtraTrees*`."""
    return _averaged(estimator.estimators_, estimator)


def as_tree(tree: Any, value: np.ndarray, output: int = 0, columns: np.ndarray | None = None) -> Tree:
    """scikit-learn's ``tree_`` with these leaf values; `columns` where it was given some columns only."""
    feature = np.asarray(tree.feature)
    return Tree(
        feature=feature if columns is None else np.asarray(columns)[np.maximum(feature, 0)],
        threshold=at_most(tree.threshold),
        left=tree.children_left,
        right=tree.children_right,
        missing_left=np.asarray(tree.missing_go_to_left, dtype=bool),
        value=value,
        cover=tree.weighted_n_node_samples,
        output=output,
    )


def _averaged(members: Any, estimator: Any) -> TreeEnsemble:
    classes = len(getattr(estimator, "classes_", ()))
    trees = [as_tree(member.tree_, _leaves(member.tree_, classes) / len(members)) for member in members]
    link: Link = "probability" if classes else "identity"
    return TreeEnsemble.of(
        trees, np.zeros(max(1, classes if classes > 2 else 1)), int(estimator.n_features_in_), single=True,
        link=link, family=f"scikit-learn {type(estimator).__name__}",
    )  # fmt: skip


def _leaves(tree: Any, classes: int) -> Float[np.ndarray, " n"] | Float[np.ndarray, "n k"]:
    """Means of a regression; shares of the classes, of which two need one number."""
    value = np.asarray(tree.value, dtype=np.float64)[:, 0]
    if not classes:
        return value[:, 0]
    total = value.sum(axis=1, keepdims=True)
    share = value / np.where(total == 0, 1.0, total)  # a leaf may have no weight at all
    return share[:, 1] if classes == 2 else share

"""scikit-learn's `HistGradientBoosting*`: double precision, missing values, and sets of categories.

The library encodes categories as whole numbers and puts their columns first; here every column keeps its place, and
`encoded` makes such rows. A category that was not there in training is missing, and so is an empty cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from explainers.trees.converting.scikit_learn_boosting import link_of
from explainers.trees.ensemble import Sets, Tree, TreeEnsemble


def of_boosting(estimator: Any) -> TreeEnsemble:
    """A `HistGradientBoosting*`."""
    name = f"scikit-learn {type(estimator).__name__}"
    places, known = _places(estimator), _known(estimator)
    sets: list[np.ndarray] = []
    trees = [
        _tree(predictor, output, places, known, sets)
        for stage in estimator._predictors
        for output, predictor in enumerate(stage)
    ]
    link, slope = link_of(estimator._loss, name)
    return TreeEnsemble.of(
        trees, np.asarray(estimator._baseline_prediction).reshape(-1), int(estimator.n_features_in_), single=False,
        sets=Sets.of([answers.tolist() for answers in sets]), link=link, slope=slope, family=name,
    )  # fmt: skip


def encoded(estimator: Any, X: Any) -> Float[np.ndarray, "n c"]:
    """Rows as the trees ask for them, columns in the estimator's order, categories as numbers, NaN where unknown."""
    if not len(X):
        return np.empty((0, int(estimator.n_features_in_)))
    made = np.asarray(estimator._preprocess_X(X, reset=False), dtype=np.float64)
    out = np.empty_like(made)
    out[:, _places(estimator)] = made
    return out


def _places(estimator: Any) -> Int[np.ndarray, " c"]:
    """The estimator's column behind each column that its own preparation makes: categories come first there."""
    categorical = getattr(estimator, "is_categorical_", None)
    if getattr(estimator, "_preprocessor", None) is None or categorical is None:
        return np.arange(int(estimator.n_features_in_))
    return np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])


def _known(estimator: Any) -> dict[int, Bool[np.ndarray, " b"]]:
    """For each categorical column, as prepared, which numbers are categories that were there in training."""
    mapper = estimator._bin_mapper
    found = {}
    for column in np.flatnonzero(mapper.is_categorical_):
        categories = np.asarray(mapper.bin_thresholds_[column]).astype(np.int64)
        known = np.zeros(int(categories.max(initial=-1)) + 1, dtype=bool)
        known[categories] = True
        found[int(column)] = known
    return found


def _tree(
    predictor: Any, output: int, places: np.ndarray, known: dict[int, np.ndarray], sets: list[np.ndarray]
) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    missing_left = nodes["missing_go_to_left"].astype(bool)
    chosen = np.full(len(nodes), -1, dtype=np.int64)
    for place in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf):
        there = known[int(nodes["feature_idx"][place])]
        left = _bits(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][place]])[: len(there)]
        chosen[place] = len(sets)
        sets.append(np.append(np.where(there, left, missing_left[place]), missing_left[place]))
    return Tree(
        feature=np.where(leaf, -1, places[np.where(leaf, 0, nodes["feature_idx"])]),
        threshold=np.where(chosen >= 0, 0.0, nodes["num_threshold"]),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=missing_left,
        value=nodes["value"],
        cover=nodes["count"],
        output=output,
        chosen=chosen,
    )


def _bits(words: Any) -> Bool[np.ndarray, " 256"]:
    """A set of numbers under 256, held as eight words of 32 bits, the lowest bit first."""
    shifts = np.arange(32, dtype=np.uint32)
    return ((np.asarray(words, dtype=np.uint32)[:, None] >> shifts) & np.uint32(1)).astype(bool).reshape(-1)

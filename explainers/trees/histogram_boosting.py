"""scikit-learn's histogram boosting, predicted by a compiled loop: the same numbers, several times sooner.

The library walks each row down each tree with a branch that the processor cannot predict, and copies an 80-byte node at
each step; here a block of rows goes down together, level by level, without branches, over compact arrays. Comparison, missing values and the order
of summation are the library's, so the sums are equal to the last bit. Sets of categories are left to the library.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, no_type_check

import numba
import numpy as np
from jaxtyping import Float

#: Rows from which a second thread is worth its start.
ROWS_PER_THREAD = 4096

#: Rows that go down a tree together: enough to hide the wait for memory, few enough to stay in the nearest cache.
BLOCK = 128


class HistogramBoosting:
    """The trees of a fitted `HistGradientBoosting` estimator as flat arrays."""

    def __init__(self, estimator: Any) -> None:
        stages = estimator._predictors
        self._outputs = len(stages[0])
        self._baseline = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)
        self._columns = int(estimator.n_features_in_)
        trees = [tree.nodes for stage in stages for tree in stage]
        self._starts = np.cumsum([0, *(len(nodes) for nodes in trees)]).astype(np.int64)
        nodes = np.concatenate(trees)
        offset = np.repeat(self._starts[:-1], [len(tree) for tree in trees])
        leaf = nodes["is_leaf"].astype(bool)
        here = np.arange(len(nodes))
        children = [np.where(leaf, here, nodes[side] + offset) for side in ("left", "right")]
        self._child = np.column_stack(children).reshape(-1).astype(np.uint32)  # a leaf leads to itself
        self._feature = np.where(leaf, 0, nodes["feature_idx"]).astype(np.uint32)
        self._threshold = np.where(leaf, 0.0, nodes["num_threshold"])
        self._missing_right = nodes["missing_go_to_left"] == 0
        self._value = np.ascontiguousarray(nodes["value"], dtype=np.float64)
        self._depths = np.array([int(tree["depth"].max()) for tree in trees], dtype=np.int64)

    @classmethod
    def of(cls, estimator: Any) -> HistogramBoosting | None:
        """The compiled form of an estimator, or ``None`` where it is another kind or splits on sets of categories."""
        if not type(estimator).__name__.startswith("HistGradientBoosting") or not getattr(
            estimator, "_predictors", None
        ):
            return None
        if getattr(estimator, "_preprocessor", None) is not None:
            return None
        if any(tree.nodes["is_categorical"].any() for stage in estimator._predictors for tree in stage):
            return None
        return cls(estimator)

    def raw(self, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """The raw scores, as the library's own `_raw_predict` gives them."""
        if X.shape[1] != self._columns:
            raise ValueError(f"the model was trained on {self._columns} columns, got {X.shape[1]}")
        X = np.ascontiguousarray(X, dtype=np.float64)
        out = np.tile(self._baseline, (len(X), 1))
        threads = min(os.cpu_count() or 1, 8, max(1, len(X) // ROWS_PER_THREAD))
        if threads == 1:
            self._walk(X, out)
            return out
        parts = np.array_split(np.arange(len(X)), threads)
        with ThreadPoolExecutor(threads) as pool:
            list(
                pool.map(
                    lambda rows: self._walk(X[rows[0] : rows[-1] + 1], out[rows[0] : rows[-1] + 1]), parts
                )
            )
        return out

    def _walk(self, X: np.ndarray, out: np.ndarray) -> None:
        _add_trees(
            X, out, self._starts, self._depths, self._feature, self._threshold, self._child,
            self._missing_right, self._value,
        )  # fmt: skip


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _loop(X, out, starts, depths, feature, threshold, child, missing_right, value):
    """Add the trees' values to ``out (n, k)``; tree ``t`` belongs to output ``t mod k``.

    All rows of a block meet the same root, so that comparison is one vector operation; below it each row has its own
    node, and the level-by-level order lets many rows wait for memory at once.
    """
    columns, outputs = X.shape[1], out.shape[1]
    block = np.empty((columns, BLOCK))
    total = np.empty((outputs, BLOCK))
    at = np.empty(BLOCK, dtype=np.uint32)
    two, one = np.uint32(2), np.uint32(1)
    for first in range(0, len(X), BLOCK):
        rows = min(BLOCK, len(X) - first)
        for r in range(rows):
            for j in range(columns):
                block[j, r] = X[first + r, j]
            for k in range(outputs):
                total[k, r] = out[first + r, k]
        for tree in range(len(depths)):
            k = tree % outputs
            root = np.uint32(starts[tree])
            here, limit, absent = feature[root], threshold[root], missing_right[root]
            left, right = child[two * root], child[two * root + one]
            for r in range(rows):
                x = block[here, r]
                at[r] = right if ((x > limit) | ((x != x) & absent)) else left
            for _ in range(depths[tree] - 2):
                for r in range(rows):
                    node = at[r]
                    x = block[feature[node], r]
                    at[r] = child[
                        two * node + np.uint32((x > threshold[node]) | ((x != x) & missing_right[node]))
                    ]
            for r in range(rows):
                node = at[r]
                x = block[feature[node], r]
                leaf = child[two * node + np.uint32((x > threshold[node]) | ((x != x) & missing_right[node]))]
                total[k, r] += value[leaf]
        for r in range(rows):
            for k in range(outputs):
                out[first + r, k] = total[k, r]


def _compiled() -> Any:
    """The loop as machine code, kept beside this file; where that cannot be written, compiled anew in each process."""
    try:
        return numba.njit(nogil=True, cache=True)(_loop)
    except RuntimeError:
        return numba.njit(nogil=True)(_loop)


_add_trees = _compiled()

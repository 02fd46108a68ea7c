"""Prediction through the tensor form: a block of rows goes down each tree together, level by level, without branches.

`add_trees` walks codes, which answer for sets of categories too; `sums` walks the values themselves where there are
thresholds only, because making codes costs about a third of such a walk. Both add the trees in their order.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np

from explainers.trees.compiling import compiled, share
from explainers.trees.ensemble import TreeEnsemble
from explainers.trees.single_precision import at_most

#: Rows that go down a tree together: enough to hide the wait for memory, few enough to stay in the nearest cache.
BLOCK = 128

#: Rows from which a second thread is worth its start.
ROWS_PER_THREAD = 4096


def sums(trees: TreeEnsemble, X: np.ndarray) -> np.ndarray:
    """The leaves' sums ``(m, k)`` for rows ``(m, c)``, base included."""
    out = np.repeat(trees.base[None], len(X), axis=0)
    if trees.asks_sets:
        add_trees(trees, trees.questions.codes(X), out)
        return out
    packed = _packed_values(trees)
    X = np.ascontiguousarray(X, dtype=np.float32 if X.dtype == np.float32 else np.float64)

    def part(start: int, stop: int) -> None:
        _descend_values(X[start:stop], *packed, trees.value, trees.output, out[start:stop])

    share(part, len(out), ROWS_PER_THREAD)
    return out


def add_trees(trees: TreeEnsemble, codes: Any, out: np.ndarray) -> None:
    """Add each tree's leaf to ``out (m, k)``, tree by tree in their order, as the libraries do."""
    packed = _packed(trees)

    def part(start: int, stop: int) -> None:
        _descend(codes[:, start:stop], *packed, trees.value, trees.output, out[start:stop])

    share(part, len(out), ROWS_PER_THREAD)


def _packed(trees: TreeEnsemble) -> tuple[np.ndarray, ...]:
    """Both children side by side, and how deep each tree is."""
    found = trees.__dict__.get("_packed")
    if found is None:
        questions = trees.questions
        found = (
            trees.roots,
            _deepest(trees),
            questions.column.astype(np.uint32),
            questions.rank,
            _child(trees),
        )
        trees.__dict__["_packed"] = found
    return found


def _packed_values(trees: TreeEnsemble) -> tuple[np.ndarray, ...]:
    """The same for values: a column that is asked with missing values left has a second copy, where they are -inf.

    So one comparison answers for missing values too: NaN is at most nothing, and nothing is at most a leaf's NaN.
    """
    found = trees.__dict__.get("_packed_values")
    if found is None:
        inner = trees.feature >= 0
        copies, of = np.unique((trees.feature * 2 + trees.missing_left)[inner], return_inverse=True)
        offset = np.zeros(len(inner), dtype=np.uint32)
        offset[inner] = of.reshape(-1) * BLOCK
        limit = np.where(inner, trees.threshold, np.nan)
        limit = at_most(limit).astype(np.float32) if trees.single else limit
        source = copies // 2
        found = (
            source, (copies % 2).astype(bool), trees.missing[source], trees.roots, _deepest(trees), offset, limit,
            _child(trees),
        )  # fmt: skip
        trees.__dict__["_packed_values"] = found
    return found


def _child(trees: TreeEnsemble) -> np.ndarray:
    return np.column_stack([trees.left, trees.right]).reshape(-1).astype(np.uint32)


def _deepest(trees: TreeEnsemble) -> np.ndarray:
    return np.maximum.reduceat(trees.depth, trees.roots[:-1]) if trees.trees else np.zeros(0, np.int64)


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _loop(codes, roots, depths, column, rank, child, value, output, out):
    """Rows of a block have each their own node; the level-by-level order lets many of them wait for memory at once."""
    rows, outputs = out.shape
    at = np.empty(BLOCK, dtype=np.uint32)
    two = np.uint32(2)
    for first in range(0, rows, BLOCK):
        count = min(BLOCK, rows - first)
        for tree in range(len(depths)):
            at[:count] = np.uint32(roots[tree])
            for _ in range(depths[tree]):
                for r in range(count):
                    node = at[r]
                    at[r] = child[two * node + np.uint32(codes[column[node], first + r] > rank[node])]
            if output[tree] >= 0:
                k = output[tree]
                for r in range(count):
                    out[first + r, k] += value[at[r], 0]
            else:
                for r in range(count):
                    for k in range(outputs):
                        out[first + r, k] += value[at[r], k]


@no_type_check
def _values_loop(
    X, source, low, missing, roots, depths, offset, limit, child, value, output, out
):  # fmt: skip
    """The same on values; all rows of a block meet the same root, so that comparison is one vector operation."""
    rows, outputs = out.shape
    block = np.empty(len(source) * BLOCK, dtype=limit.dtype)
    total = np.empty((outputs, BLOCK))
    at = np.empty(BLOCK, dtype=np.uint32)
    two, one = np.uint32(2), np.uint32(1)
    for first in range(0, rows, BLOCK):
        count = min(BLOCK, rows - first)
        for p in range(len(source)):
            j = source[p]
            for r in range(count):
                block[p * BLOCK + r] = X[first + r, j]
            if missing[p] == 1:
                for r in range(count):
                    if block[p * BLOCK + r] != block[p * BLOCK + r]:
                        block[p * BLOCK + r] = 0.0
            if missing[p] == 2:
                for r in range(count):
                    x = np.float64(X[first + r, j])
                    if x >= -1.0000000180025095e-35 and x <= 1.0000000180025095e-35:
                        block[p * BLOCK + r] = np.nan
            if low[p]:
                for r in range(count):
                    if block[p * BLOCK + r] != block[p * BLOCK + r]:
                        block[p * BLOCK + r] = -np.inf
        for r in range(count):
            for k in range(outputs):
                total[k, r] = out[first + r, k]
        for tree in range(len(depths)):
            root = np.uint32(roots[tree])
            here, top = offset[root], limit[root]
            left, right = child[two * root], child[two * root + one]
            for r in range(count):
                at[r] = left if block[here + np.uint32(r)] <= top else right
            for _ in range(depths[tree] - 1):
                for r in range(count):
                    node = at[r]
                    at[r] = child[
                        two * node + np.uint32(not (block[offset[node] + np.uint32(r)] <= limit[node]))
                    ]
            if output[tree] >= 0:
                k = output[tree]
                for r in range(count):
                    total[k, r] += value[at[r], 0]
            else:
                for r in range(count):
                    for k in range(outputs):
                        total[k, r] += value[at[r], k]
        for r in range(count):
            for k in range(outputs):
                out[first + r, k] = total[k, r]


_descend = compiled(_loop)
_descend_values = compiled(_values_loop)

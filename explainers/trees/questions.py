"""Each node's comparison in whole numbers: a value becomes its rank among its column's thresholds, once.

A *question* is what a node asks: a pseudo-column and a rank; a row goes left where its code in that column is at most
the rank. A column with thresholds t_0 < t_1 < … has the codes 0..K (how many thresholds lie below the value), and a
missing value has a code beyond all ranks, or, in a second copy of the column, before all; so a comparison of small
whole numbers answers for missing values too. A set of categories is a pseudo-column of its own, with 0 for its members.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from explainers.errors import UnsupportedModel
from explainers.trees.codes import buckets, fill_codes
from explainers.trees.compiling import share
from explainers.trees.ensemble import TreeEnsemble

HIGH, LOW, SET = 0, 1, 2  # a missing value beyond all ranks, before all ranks; a set of categories


class Questions:
    """The pseudo-columns of an ensemble and what each node asks of them.

    Attributes:
        column: the pseudo-column of each node, 0 at a leaf, ``(n,)``.
        rank: left where the code is at most this, ``(n,)``; a leaf's is larger than every code's.
        source, kind: the column each pseudo-column comes from, and `HIGH`, `LOW` or `SET`, ``(p,)``.
        start, thresholds: the thresholds of pseudo-column `p`: ``thresholds[start[p]:start[p+1]]``, ascending.
        set_of: the set of each pseudo-column of kind `SET`, else -1, ``(p,)``.
        dtype: the smallest unsigned type that holds every code.
    """

    def __init__(self, trees: TreeEnsemble) -> None:
        self._trees = trees
        inner = trees.feature >= 0
        keys = np.column_stack([trees.feature, np.where(trees.missing_left, LOW, HIGH), trees.chosen])
        keys[trees.chosen >= 0, 1] = SET + trees.missing_left[trees.chosen >= 0]
        found, of = np.unique(keys[inner], axis=0, return_inverse=True)
        self.source, kind, self.set_of = (found[:, i].astype(np.int64) for i in range(3))
        self._missing_left = np.where(kind >= SET, kind > SET, kind == LOW)
        self.kind = np.minimum(kind, SET)
        self.column = np.zeros(len(inner), dtype=np.int32)
        self.column[inner] = of.reshape(-1)
        rank = np.zeros(len(inner), dtype=np.int64)
        pieces = []
        for place, nodes in enumerate(_grouped(self.column, inner, len(found))):
            if self.kind[place] == SET:
                pieces.append(np.zeros(0))
                continue
            limits, ranks = np.unique(trees.threshold[nodes], return_inverse=True)
            rank[nodes] = ranks + (self.kind[place] == LOW)
            pieces.append(limits)
        self.start = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
        self.thresholds = np.concatenate(pieces) if pieces else np.zeros(0)
        most = max((len(piece) for piece in pieces), default=0) + 1
        lines = [buckets(piece) for piece in pieces]
        self._low, self._slope = np.array([line[0] for line in lines]), np.array([line[1] for line in lines])
        self._bucket = np.concatenate([[0], np.cumsum([len(line[2]) for line in lines])]).astype(np.int64)
        self._before = np.concatenate([line[2] for line in lines]) if lines else np.zeros(0, dtype=np.int32)
        self.dtype = np.min_scalar_type(most + 1)
        rank[~inner] = most + 1
        self.rank: Int[np.ndarray, " n"] = rank.astype(self.dtype)

    def codes(self, X: Float[np.ndarray, "m c"]) -> Any:
        """The rows' codes ``(p, m)``; raises `UnsupportedModel` for another number of columns."""
        trees = self._trees
        if X.ndim != 2 or X.shape[1] != trees.columns:
            raise UnsupportedModel(
                f"{trees.family} was trained on {trees.columns} columns; these rows have {X.shape[-1]}."
            )
        with np.errstate(over="ignore"):  # beyond single precision lies infinity, for the library as well
            values = np.ascontiguousarray(X, dtype=np.float32 if trees.single else np.float64)
        out = np.empty((len(self.source), len(X)), dtype=self.dtype)

        def part(start: int, stop: int) -> None:
            fill_codes(
                values, start, stop, self.source, self.kind, self._missing_left, trees.missing[self.source], self.start,
                self.thresholds, self._low, self._slope, self._bucket, self._before, self.set_of, trees.sets.start,
                trees.sets.member, out,
            )  # fmt: skip

        share(part, len(X), 4096)
        return out


def _grouped(column: np.ndarray, inner: np.ndarray, count: int) -> list[np.ndarray]:
    """The nodes of each pseudo-column."""
    nodes = np.flatnonzero(inner)
    nodes = nodes[np.argsort(column[nodes], kind="stable")]
    return np.split(nodes, np.searchsorted(column[nodes], np.arange(1, count))) if count else []

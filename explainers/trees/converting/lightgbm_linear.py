"""LightGBM's trees whose leaves hold straight lines: their predictions, which no sum of leaf values describes."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from explainers.trees.converting.lightgbm_trees import Fields, numbers, sums
from explainers.trees.ensemble import TreeEnsemble


class LinearLeaves:
    """The trees of a text with ``linear_tree``: a tensor form finds the leaves, their lines make the values.

    A row that misses a value which the leaf's line needs gets the leaf's constant value.
    """

    def __init__(self, told: Fields) -> None:
        self.outputs = int(told.header["num_tree_per_iteration"])
        numbered = [
            {**tree, "leaf_value": " ".join(map(str, range(int(tree["num_leaves"]))))} for tree in told.trees
        ]
        header = {
            name: value for name, value in told.header.items() if name not in ("average_output", "objective")
        }
        header["num_tree_per_iteration"] = str(max(1, len(told.trees)))  # each tree answers for itself
        self.places: TreeEnsemble = sums(dataclasses.replace(told, header=header, trees=numbered))
        self.lines = [_Lines.of(tree) for tree in told.trees]
        averaged = max(1, len(told.trees) // self.outputs)
        self.share = 1.0 / averaged if "average_output" in told.header else 1.0

    def raw(self, X: Float[np.ndarray, "m c"]) -> Float[np.ndarray, "m k"]:
        """The sums, one for each output."""
        out = np.zeros((len(X), self.outputs))
        leaves = self.places.raw(X).astype(np.int64)
        for position, lines in enumerate(self.lines):
            out[:, position % self.outputs] += lines.values(X, leaves[:, position])
        return out * self.share


@dataclasses.dataclass(frozen=True)
class _Lines:
    """The lines of one tree's leaves, one behind the other; `lonely` is a leaf's value without its line."""

    lonely: np.ndarray
    constant: np.ndarray
    start: np.ndarray
    features: np.ndarray
    slopes: np.ndarray

    @classmethod
    def of(cls, tree: dict[str, str]) -> _Lines:
        lonely = numbers(tree, "leaf_value")
        if tree.get("is_linear", "0").strip() in ("", "0"):
            none = np.zeros(len(lonely) + 1, dtype=np.int64)
            return cls(lonely, lonely, none, none[:0], lonely[:0])
        sizes = numbers(tree, "num_features", np.int64)
        start = np.concatenate([[0], np.cumsum(sizes)])
        features = numbers(tree, "leaf_features", np.int64)
        return cls(lonely, numbers(tree, "leaf_const"), start, features, numbers(tree, "leaf_coeff"))

    def values(self, X: np.ndarray, leaves: np.ndarray) -> np.ndarray:
        found = np.empty(len(X))
        for leaf in np.unique(leaves).tolist():
            here = np.flatnonzero(leaves == leaf)
            part = slice(self.start[leaf], self.start[leaf + 1])
            line = self.constant[leaf] + X[np.ix_(here, self.features[part])] @ self.slopes[part]
            found[here] = np.where(np.isnan(line), self.lonely[leaf], line)
        return found

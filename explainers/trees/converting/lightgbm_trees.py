"""LightGBM's trees from its text, as a file holds it or as a booster in memory writes it.

A row goes left where x <= threshold in double precision, or where its category is in the node's set; a missing or
negative category goes right. Leaves carry the learning rate; the first tree carries the average that boosting starts
from. Linear trees have no leaves of one value, so they are refused here.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd

from explainers.errors import UnsupportedModel
from explainers.trees.converting.training_columns import TrainingColumns
from explainers.trees.ensemble import NAN, NEARLY_ZERO, NEVER, ZERO, Link, Sets, Tree, TreeEnsemble

LINKS: dict[str, Link] = {
    **dict.fromkeys(("binary", "cross_entropy", "multiclassova"), "logistic"),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
    "multiclass": "softmax",
}


@dataclasses.dataclass(frozen=True)
class Fields:
    """What LightGBM's text says, not yet as numbers.

    Attributes:
        header: the lines before the first tree.
        trees: the lines of each tree.
        categories: the categories that pandas had, for each of its columns of them.
    """

    header: dict[str, str]
    trees: list[dict[str, str]]
    categories: list[list[Any]]

    @property
    def objective(self) -> str:
        """The objective's name; ``custom`` where the text names none."""
        return self.header.get("objective", "custom").split(" ")[0]

    @property
    def settings(self) -> dict[str, str]:
        """The objective's own settings."""
        return {
            name: value
            for name, _, value in (
                setting.partition(":") for setting in self.header.get("objective", "").split(" ")[1:]
            )
        }

    @property
    def linear(self) -> bool:
        """Whether leaves hold straight lines."""
        return any(tree.get("is_linear", "0").strip() not in ("", "0") for tree in self.trees)

    @property
    def root(self) -> bool:
        """Whether the square root was learned, so that sums are squared."""
        curved = LINKS.get(self.objective) or self.objective in ("huber", "fair", "cross_entropy_lambda")
        return "sqrt" in self.settings and not curved


def of_text(text: str) -> TreeEnsemble:
    """The trees in LightGBM's text; trusts indices and sizes. Raises what `of_fields` raises."""
    return of_fields(fields(text))


def of_booster(obj: Any) -> TreeEnsemble:
    """The trees of a Booster, or of one of the library's scikit-learn classes, up to its best round."""
    return of_text(getattr(obj, "booster_", obj).model_to_string())


def of_fields(told: Fields) -> TreeEnsemble:
    """The trees with the objective's link.

    Raises `UnsupportedModel` for linear trees, and where the prediction is no function that trees' methods know.
    """
    if told.linear:
        raise UnsupportedModel(
            "The leaves of these LightGBM trees hold straight lines (linear_tree), which tree methods cannot explain. "
            "Use KernelShap."
        )
    if told.root or told.objective == "cross_entropy_lambda":
        what = "the square" if told.root else "log(1 + exp)"
        raise UnsupportedModel(
            f"This LightGBM model predicts {what} of the sum of its trees, which tree methods cannot explain. "
            "Use KernelShap."
        )
    return sums(told, LINKS.get(told.objective, "identity"))


def sums(told: Fields, link: Link = "identity") -> TreeEnsemble:
    """The trees whatever the objective makes of their sum; linear leaves have their constant fallback."""
    header = told.header
    outputs, columns = int(header["num_tree_per_iteration"]), int(header["max_feature_idx"]) + 1
    averaged = max(1, len(told.trees) // outputs) if "average_output" in header else 1
    sets: list[np.ndarray] = []
    trees = [_tree(tree, position % outputs, sets) for position, tree in enumerate(told.trees)]
    missing = _missing(trees, columns)
    return TreeEnsemble.of(
        [_settled(tree, missing, averaged) for tree in trees],
        np.zeros(outputs),
        columns,
        single=False,
        missing=missing,
        sets=Sets.of(sets),
        link=link,
        slope=float(told.settings.get("sigmoid", 1.0)),
        family=f"LightGBM ({told.objective})",
    )


def fields(text: str) -> Fields:
    """The parts of a text that LightGBM itself has written."""
    head, *blocks = text[: text.index("\nend of trees")].split("\nTree=")
    _, _, categories = text.rpartition("\npandas_categorical:")
    return Fields(lines(head), [lines(block) for block in blocks], json.loads(categories) or [])


def lines(block: str) -> dict[str, str]:
    """``name=value`` by name; a line without a value stands for itself."""
    return {name: value for name, _, value in (line.partition("=") for line in block.split("\n")) if name}


def columns(told: Fields) -> TrainingColumns:
    """The model's columns. Its text lists pandas' categories in order, and which columns have categories."""
    stored = tuple(told.header["feature_names"].split(" "))
    plain = all(name == f"Column_{i}" for i, name in enumerate(stored))
    kinds = told.header["feature_infos"].split(" ")
    coded = [j for j, kind in enumerate(kinds) if kind != "none" and not kind.startswith("[")]
    categories = tuple(pd.Index(group) for group in told.categories)
    placed = len(coded) == len(categories)
    return TrainingColumns(
        len(stored),
        "LightGBM",
        None if plain else stored,
        dict(zip(coded, categories, strict=True)) if placed else {},
        unplaced=() if placed else categories,
        coded=frozenset(coded),
    )


def numbers(tree: dict[str, str], name: str, kind: Any = np.float64) -> np.ndarray:
    """One line of a tree."""
    return np.array(tree.get(name, "").split(), dtype=np.float64).astype(kind)


@dataclasses.dataclass(frozen=True)
class _Tree:
    """A tree whose nodes still say what is missing to each of them: 0 nothing, 1 zero, 2 NaN."""

    tree: Tree
    missing: np.ndarray


def _tree(told: dict[str, str], output: int, sets: list[np.ndarray]) -> _Tree:
    """Inner nodes first, then the leaves; adds its sets of categories to `sets`."""
    leaves = int(told["num_leaves"])
    inner = leaves - 1
    end = np.full(leaves, -1, dtype=np.int64)
    children = [
        np.concatenate([np.where(side < 0, inner + ~side, side), end])
        for side in ((numbers(told, f"{name}_child", np.int64)[:inner]) for name in ("left", "right"))
    ]
    kinds = numbers(told, "decision_type", np.int64)[:inner]
    threshold = numbers(told, "threshold")[:inner]
    chosen = _chosen(told, kinds, threshold, sets)
    pad = np.zeros(leaves)
    return _Tree(
        Tree(
            feature=np.concatenate([numbers(told, "split_feature", np.int64)[:inner], end]),
            threshold=np.concatenate([_around_zero(threshold), pad]),
            left=children[0],
            right=children[1],
            missing_left=np.concatenate([(kinds & 3) == 2, pad > 0]),
            value=np.concatenate([np.zeros(inner), numbers(told, "leaf_value")]),
            cover=_cover(told, children, leaves),
            output=output,
            chosen=np.concatenate([chosen, end]),
        ),
        np.concatenate([kinds >> 2 & 3, pad.astype(np.int64)]),
    )


def _around_zero(threshold: np.ndarray) -> np.ndarray:
    """The library makes zeros of values within `NEARLY_ZERO`: none of them lies left of a threshold below zero."""
    near = np.abs(threshold) <= NEARLY_ZERO
    below = np.nextafter(-NEARLY_ZERO, -np.inf)
    return np.where(near, np.where(threshold < 0, below, NEARLY_ZERO), threshold)


def _chosen(
    told: dict[str, str], kinds: np.ndarray, threshold: np.ndarray, sets: list[np.ndarray]
) -> np.ndarray:
    """A node of categories keeps the number of its set where others keep a threshold."""
    chosen = np.full(len(kinds), -1, dtype=np.int64)
    bounds, words = numbers(told, "cat_boundaries", np.int64), numbers(told, "cat_threshold", np.uint32)
    for node in np.flatnonzero(kinds & 1).tolist():
        first, stop = bounds[int(threshold[node])], bounds[int(threshold[node]) + 1]
        bits = np.unpackbits(words[first:stop].astype("<u4").view(np.uint8), bitorder="little")
        chosen[node] = len(sets)
        sets.append(np.append(bits, 0).astype(bool))
    return chosen


def _cover(told: dict[str, str], children: list[np.ndarray], leaves: int) -> np.ndarray:
    """How many rows of training passed each node; their weight, or how many leaves follow, where counts are absent."""
    for kind in ("count", "weight"):
        found = numbers(told, f"leaf_{kind}"), numbers(told, f"internal_{kind}")
        if len(found[0]) == leaves and len(found[1]) >= leaves - 1 and found[0].any():
            return np.concatenate([found[1][: leaves - 1], found[0]])
    cover = np.concatenate([np.zeros(leaves - 1), np.ones(leaves)])
    parent = np.full(2 * leaves - 1, -1, dtype=np.int64)
    for side in children:
        parent[side[: leaves - 1]] = np.arange(leaves - 1)
    at = parent[leaves - 1 :]
    while (at := at[at >= 0]).size:
        np.add.at(cover, at, 1.0)
        at = parent[at]
    return cover


def _missing(trees: list[_Tree], columns: int) -> np.ndarray:
    """For each column what is missing; `NEVER` only where all its nodes say so."""
    seen = np.zeros((columns, 4), dtype=bool)  # nothing, zero, NaN; sets of categories
    for tree in trees:
        inner = tree.tree.left >= 0
        asked = np.where(tree.tree.chosen >= 0, 3, np.minimum(tree.missing, 2))  # type: ignore[operator]
        seen[tree.tree.feature[inner], asked[inner]] = True
    if (seen[:, 1] & seen[:, 2:].any(axis=1)).any():
        raise UnsupportedModel(
            "Trees of this LightGBM model take zero as missing in a column where others do not. "
            "Train all of it with one setting of zero_as_missing."
        )
    never = seen[:, 0] & ~seen[:, 1:].any(axis=1)
    return np.where(seen[:, 1], ZERO, np.where(never, NEVER, NAN)).astype(np.uint8)


def _settled(told: _Tree, missing: np.ndarray, averaged: int) -> Tree:
    """The tree where a node without missing values, in a column that has some, sends them where zero goes."""
    tree = told.tree
    plain = (tree.left >= 0) & (tree.chosen < 0) & (told.missing == 0)  # type: ignore[operator]
    zero = np.where(missing[tree.feature] == NEVER, False, tree.threshold >= 0)
    left = np.where(plain, zero, tree.missing_left) & (tree.chosen < 0)  # type: ignore[operator]
    return dataclasses.replace(tree, missing_left=left, value=tree.value / averaged)

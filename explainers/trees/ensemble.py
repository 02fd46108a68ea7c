"""One tensor form for the trees of every library: flat arrays of nodes, one comparison rule, sums of leaves.

A row goes left where its value is at most the node's threshold; libraries that compare with "less than" have their
thresholds moved to the next smaller number, which is the same question. A library that rounds values to single
precision first says so in `single`. Splits on sets of categories name a set of `Sets`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from explainers.errors import UnsupportedModel

if TYPE_CHECKING:
    from explainers.trees.questions import Questions

#: From the sum of the leaves to the prediction. ``probability``: the sum is one (of the second class, where there is
#: one output); ``logistic``: 1 / (1 + exp(-slope · sum)); ``isolation``: -2^(-slope · sum).
Link = Literal["identity", "probability", "logistic", "softmax", "exp", "isolation"]

#: What a column's missing value is: NaN itself; nothing, since NaN counts as 0; zero as well as NaN.
NAN, NEVER, ZERO = 0, 1, 2

#: Things made of an ensemble that are kept with it: tables, most of all.
KEPT = 12

#: Values this near to zero are missing where zero is.
NEARLY_ZERO = 1.0000000180025095e-35  # 1e-35 in single precision


@dataclasses.dataclass(frozen=True, eq=False)
class Tree:
    """One tree as a library holds it; nodes in any order, the root first. What `TreeEnsemble.of` is made from.

    Attributes:
        feature: the column asked at each node ``(n,)``; anything at a leaf.
        threshold: left where the value is at most this, ``(n,)``.
        left, right: the children's positions in this tree; -1 at a leaf.
        missing_left: where a missing value goes, ``(n,)``.
        value: what each leaf adds, ``(n,)`` or ``(n, k)``.
        cover: how much training weight passed through each node, ``(n,)``.
        output: the output it adds to, where `value` is ``(n,)``.
        chosen: for each node the set whose members go left, -1 where it asks no set, ``(n,)``.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    cover: np.ndarray
    output: int = 0
    chosen: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Sets:
    """Sets of categories, one after the other: set `s` answers for category `c` with ``member[start[s] + c]``.

    The last entry of each set answers for every category that it has no entry for, negative ones included.
    """

    start: Int[np.ndarray, " bounds"]
    member: Bool[np.ndarray, " members"]

    @classmethod
    def of(cls, sets: Sequence[Any]) -> Sets:
        """From lists of answers, the last of each for all others."""
        sizes = [len(answers) for answers in sets]
        flat = [np.asarray(answers, dtype=bool) for answers in sets]
        return cls(
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.concatenate(flat) if flat else np.zeros(0, dtype=bool),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class TreeEnsemble:
    """The trees of a model; nodes of a tree follow each other, each parent right before its left child.

    Attributes:
        roots: the first node of each tree, and behind the last tree how many nodes there are, ``(t+1,)``.
        feature: the column asked at each node, -1 at a leaf, ``(n,)``.
        threshold: left where the column's value is at most this, ``(n,)``.
        left, right: the children; a leaf leads to itself, ``(n,)``.
        missing_left: where a missing value goes, ``(n,)``.
        chosen: the set in `sets` whose members go left, -1 for a threshold, ``(n,)``.
        value: what a leaf adds, 0 at inner nodes: ``(n, 1)`` where each tree has one output, else ``(n, k)``.
        cover: training weight through each node, ``(n,)``.
        output: the output of each tree, ``(t,)``; -1 where it adds to all.
        base: what the sum starts from, ``(k,)``; a classifier of two classes has one output, of the second.
        columns: how many columns a row has.
        missing: for each column `NAN`, `NEVER` or `ZERO`, ``(columns,)``.
        single: whether a value is rounded to single precision before it is compared.
        sets: the sets of categories.
        link, slope: from the sum to the prediction.
        family: what it was read from, in words.
    """

    roots: Int[np.ndarray, " roots"]
    feature: Int[np.ndarray, " n"]
    threshold: Float[np.ndarray, " n"]
    left: Int[np.ndarray, " n"]
    right: Int[np.ndarray, " n"]
    missing_left: Bool[np.ndarray, " n"]
    chosen: Int[np.ndarray, " n"]
    value: Float[np.ndarray, "n v"]
    cover: Float[np.ndarray, " n"]
    output: Int[np.ndarray, " t"]
    base: Float[np.ndarray, " k"]
    columns: int
    missing: UInt8[np.ndarray, " c"]
    single: bool
    sets: Sets
    link: Link = "identity"
    slope: float = 1.0
    family: str = "trees"

    @classmethod
    def of(
        cls,
        trees: Sequence[Tree],
        base: Any,
        columns: int,
        *,
        single: bool,
        missing: Any = NAN,
        sets: Sets | None = None,
        link: Link = "identity",
        slope: float = 1.0,
        family: str = "trees",
    ) -> TreeEnsemble:
        """From trees as a library holds them; raises `UnsupportedModel` for trees that lead nowhere or in circles."""
        base = np.atleast_1d(np.asarray(base, dtype=np.float64))
        orders = [_order(np.asarray(tree.left), np.asarray(tree.right), family) for tree in trees]
        sizes = np.array([len(order) for order in orders], dtype=np.int64)
        roots = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

        def joined(part: str, kind: Any, default: Any = None) -> np.ndarray:
            found = [
                np.asarray(value, dtype=kind)[order]
                if (value := getattr(tree, part)) is not None
                else np.full(len(order), default, dtype=kind)
                for tree, order in zip(trees, orders, strict=True)
            ]
            return np.concatenate(found) if found else np.zeros(0, dtype=kind)

        several = any(np.ndim(tree.value) == 2 for tree in trees)
        value = joined("value", np.float64)
        value = value.reshape(len(value), len(base) if several else 1)
        children = [
            _renumbered([getattr(tree, side) for tree in trees], orders, roots) for side in ("left", "right")
        ]
        leaf = children[0] < 0
        here = np.arange(len(leaf), dtype=np.int64)
        feature = np.where(leaf, -1, joined("feature", np.int64))
        if len(feature) and feature.max() >= columns:
            raise UnsupportedModel(f"A tree of {family} asks column {feature.max()}; there are {columns}.")
        return cls(
            roots=roots,
            feature=feature,
            threshold=np.where(leaf, 0.0, joined("threshold", np.float64)),
            left=np.where(leaf, here, children[0]),
            right=np.where(leaf, here, children[1]),
            missing_left=joined("missing_left", bool) & ~leaf,
            chosen=np.where(leaf, -1, joined("chosen", np.int64, -1)),
            value=np.where(leaf[:, None], value, 0.0),
            cover=joined("cover", np.float64),
            output=np.array([-1 if several else tree.output for tree in trees], dtype=np.int64),
            base=base,
            columns=columns,
            missing=np.broadcast_to(np.asarray(missing, dtype=np.uint8), (columns,)).copy(),
            single=single,
            sets=sets or Sets.of([]),
            link=link,
            slope=slope,
            family=family,
        )

    @property
    def trees(self) -> int:
        """How many trees."""
        return len(self.roots) - 1

    @property
    def outputs(self) -> int:
        """How many sums: 1 for a regression and for two classes."""
        return len(self.base)

    @cached_property
    def leaves(self) -> int:
        """How many leaves all trees have."""
        return int((self.feature < 0).sum())

    @cached_property
    def covered(self) -> bool:
        """Whether it is known how much training weight went each way."""
        return self.leaves == self.trees or bool(self.cover.any())

    @cached_property
    def asks_sets(self) -> bool:
        """Whether a node asks for a set of categories."""
        return bool((self.chosen >= 0).any())

    @cached_property
    def parent(self) -> Int[np.ndarray, " n"]:
        """The node above each node; -1 above a root."""
        found = np.full(len(self.feature), -1, dtype=np.int64)
        inner = np.flatnonzero(self.feature >= 0)
        found[self.left[inner]] = inner
        found[self.right[inner]] = inner
        return found

    @cached_property
    def depth(self) -> Int[np.ndarray, " n"]:
        """How many questions lead to each node."""
        found = np.zeros(len(self.feature), dtype=np.int64)
        level = np.flatnonzero(self.parent < 0)
        steps = 0
        while len(level):
            found[level] = steps
            inner = level[self.feature[level] >= 0]
            level = np.concatenate([self.left[inner], self.right[inner]])
            steps += 1
        return found

    @cached_property
    def questions(self) -> Questions:
        """The nodes' comparisons as small whole numbers; made once."""
        from explainers.trees.questions import Questions

        return Questions(self)

    def kept(self, key: Any, made: Callable[[], Any]) -> Any:
        """What was made of these trees before under this key, or is made now. A few things are kept; the oldest goes first."""
        shelf = self._shelf
        if key not in shelf:
            found = made()
            while len(shelf) >= KEPT:
                shelf.pop(next(iter(shelf)), None)
            shelf[key] = found
        return shelf[key]

    @cached_property
    def _shelf(self) -> dict[Any, Any]:
        return {}

    def raw(self, X: Float[np.ndarray, "m c"]) -> Float[np.ndarray, "m k"]:
        """The sums, one for each output; raises `UnsupportedModel` for another number of columns."""
        from explainers.trees.forward import sums

        if X.ndim != 2 or X.shape[1] != self.columns:
            raise UnsupportedModel(
                f"{self.family} was trained on {self.columns} columns; these rows have {X.shape[-1]}."
            )
        return sums(self, X)

    def predict(self, X: Float[np.ndarray, "m c"]) -> Float[np.ndarray, "m p"]:
        """What the model answers: ``(m, 1)`` for a regression, ``(m, classes)`` probabilities for a classifier."""
        return self.linked(self.raw(X))

    def linked(self, raw: Float[np.ndarray, "m k"]) -> Float[np.ndarray, "m p"]:
        """The prediction that belongs to these sums."""
        if self.link == "softmax":
            shifted = np.exp(raw - raw.max(axis=1, keepdims=True))
            return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
        if self.link == "logistic":
            with np.errstate(over="ignore"):
                found = 1.0 / (1.0 + np.exp(-self.slope * raw))
        elif self.link == "exp":
            found = np.exp(raw)
        elif self.link == "isolation":
            found = -np.exp2(-self.slope * raw)
        else:
            found = raw
        second = self.link in ("logistic", "probability") and self.outputs == 1
        return np.hstack([1.0 - found, found]) if second else found


def _order(left: np.ndarray, right: np.ndarray, family: str) -> Int[np.ndarray, " n"]:
    """The nodes that can be reached, each parent right before its left child."""
    n = len(left)
    order = np.empty(n, dtype=np.int64)
    waiting = [0]
    count = 0
    left_of, right_of = left.tolist(), right.tolist()
    while waiting:
        node = waiting.pop()
        if not 0 <= node < n or count == n:
            raise UnsupportedModel(f"A tree of {family} leads out of itself or in circles.")
        order[count] = node
        count += 1
        if left_of[node] >= 0:
            waiting += (right_of[node], left_of[node])
    return order[:count]


def _renumbered(
    children: Sequence[np.ndarray], orders: Sequence[np.ndarray], roots: np.ndarray
) -> Int[np.ndarray, " n"]:
    """Children's positions among all nodes; -1 at leaves."""
    found = []
    for own, order, root in zip(children, orders, roots[:-1], strict=True):
        place = np.full(len(own) + 1, -1, dtype=np.int64)  # the last answers for -1
        place[order] = root + np.arange(len(order))
        found.append(place[np.asarray(own)[order]])
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

"""Ensembles of trees of ai.onnx.ml. Their answer is a staircase: it has no gradient.

All three operators are read into one form: places 0..n-1, each a question (feature, comparison, threshold, two children)
or a leaf. A file whose trees lead out of themselves or in circles is refused before any other reader sees it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from explainers.onnx.errors import UnsafeOnnx
from explainers.onnx.graph import Array, Data
from explainers.onnx.operators.classes import (
    TRANSFORMS,
    Labels,
    both_classes,
    post_transform,
    regressed,
    transformed,
)
from explainers.onnx.operators.ml_linear import real
from explainers.onnx.operators.operator import Attributes, Operator

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
LEAF = len(MODES)
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


class Ensemble(Operator):
    """Base: which leaf each row reaches in each tree, and what the leaves give together."""

    has_gradient = False
    aggregate = "SUM"
    targets: int
    feature: Tensor
    mode: Tensor
    value: Tensor
    yes: Tensor
    no: Tensor
    missing: Tensor
    roots: Tensor
    row_of: Tensor
    table: Tensor
    members: Tensor
    member_row: Tensor
    base: Tensor | None

    def shape_trees(
        self, attributes: Attributes, questions: dict[str, Array], roots: Array, leaves: tuple[Array, ...]
    ) -> None:
        """Hold the trees.

        Args:
            questions: by place: ``feature``, ``mode``, ``value``, ``yes``, ``no``, ``missing``; leaves have mode LEAF.
            roots: a place for each tree.
            leaves: place, target and weight of every number that a leaf gives.
        """
        n = len(questions["mode"])
        self.node = str(attributes.node)
        if n > self.limits.nodes:
            raise UnsafeOnnx(
                f"{self.node} has {n:,} tree nodes; the limit is {self.limits.nodes:,} (setting limits.nodes)."
            )
        if any(len(values) != n for values in questions.values()) or len(roots) == 0:
            raise _damaged(self.node, "lists of different lengths")
        _refuse_lost_ways(self.node, questions, roots)
        self._refuse_depth(questions, roots)
        self.modes_used = np.unique(questions["mode"]).tolist()
        self.columns = int(questions["feature"].max(initial=-1)) + 1
        for name, values in questions.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)))
        self.register_buffer("roots", torch.from_numpy(roots))
        self._hold_leaves(n, *leaves)
        base = attributes.values("base_values")
        if base is not None and base.numel() not in (0, 1, self.targets):
            raise _damaged(self.node, f"{base.numel()} base values")
        self.register_buffer("base", base if base is not None and base.numel() else None)

    def _refuse_depth(self, questions: dict[str, Array], roots: Array) -> None:
        """onnxruntime goes down a tree by calling itself."""
        here, depth = roots, 0
        while len(here := here[questions["mode"][here] != LEAF]):
            depth += 1
            if depth > self.limits.tree_depth:
                raise UnsafeOnnx(
                    f"{self.node} has a tree of over {self.limits.tree_depth:,} levels, the limit (setting limits.tree_depth)."
                )
            here = np.unique(np.concatenate([questions["yes"][here], questions["no"][here]]))

    def _hold_leaves(self, n: int, places: Array, targets: Array, weights: Array) -> None:
        inside = (places >= 0) & (places < n) & (targets >= 0) & (targets < self.targets)
        if not (len(places) == len(targets) == len(weights)) or not inside.all():
            raise _damaged(self.node, "leaves that give to a class or target that there is not")
        holding, rows = np.unique(places, return_inverse=True)
        self.refuse_giant([len(holding) + 1, self.targets])
        beaten = {"MIN": np.inf, "MAX": -np.inf}.get(self.aggregate, 0.0)
        table = np.full(
            (len(holding) + 1, self.targets), beaten, dtype=weights.dtype
        )  # the last: a leaf that gives nothing
        combine = {"MIN": np.minimum, "MAX": np.maximum}.get(self.aggregate, np.add)
        combine.at(table, (rows.reshape(-1), targets), weights)
        row_of = np.full(n, len(holding))
        row_of[holding] = np.arange(len(holding))
        self.register_buffer("row_of", torch.from_numpy(row_of))
        self.register_buffer("table", torch.from_numpy(table))

    def reached(self, x: Tensor) -> Tensor:
        """Places (n, trees)."""
        if x.dim() != 2 or x.shape[1] < self.columns:
            raise UnsafeOnnx(
                f"{self.node} asks for column {self.columns - 1} of data of shape {tuple(x.shape)}: the model is damaged."
            )
        at = self.roots.expand(len(x), -1)
        while bool((self.mode[at] != LEAF).any()):
            values = x.gather(1, self.feature[at])
            answer = self._answers(at, values) | (values.isnan() & self.missing[at])
            at = torch.where(self.mode[at] == LEAF, at, torch.where(answer, self.yes[at], self.no[at]))
        return at

    def _answers(self, at: Tensor, values: Tensor) -> Tensor:
        mode, against = self.mode[at], self.value[at]
        comparisons = (torch.le, torch.lt, torch.ge, torch.gt, torch.eq, torch.ne)
        answer = torch.zeros_like(values, dtype=torch.bool)
        for code in self.modes_used:
            if code < len(comparisons):
                answer = torch.where(mode == code, comparisons[code](values, against), answer)
            elif code == MODES.index("BRANCH_MEMBER"):
                member = (values[..., None] == self.members[self.member_row[at]]).any(-1)
                answer = torch.where(mode == code, member, answer)
        return answer

    def sums(self, x: Tensor, with_base: bool = True) -> Tensor:
        """What the leaves give together (n, targets), base values added."""
        rows = self.row_of[self.reached(real(x))]
        if self.aggregate in ("MIN", "MAX"):
            gathered = self.table[rows]
            total = gathered.amin(1) if self.aggregate == "MIN" else gathered.amax(1)
            total = torch.where(total.isinf(), torch.zeros_like(total), total)
        else:
            total = functional.embedding_bag(rows, self.table, mode="sum")
            total = total / len(self.roots) if self.aggregate == "AVERAGE" else total
        return total if self.base is None or not with_base else total + self.base


class NodeLists(Ensemble):
    """The older operators: every node named by its tree and its number in it."""

    gives = "target"

    def read(self, attributes: Attributes) -> None:
        lists = {
            name: np.array(attributes.integers(f"nodes_{name}") or [], dtype=np.int64)
            for name in ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")
        }
        attributes.ignore("nodes_hitrates", "nodes_hitrates_as_tensor")
        modes = [
            (*MODES[:-1], "LEAF").index(m) if m in (*MODES[:-1], "LEAF") else -1
            for m in attributes.texts("nodes_modes") or []
        ]
        mode = np.array([LEAF if m == len(MODES) - 1 else m for m in modes], dtype=np.int64)
        n = len(mode)
        values = attributes.values("nodes_values")
        missing = attributes.integers("nodes_missing_value_tracks_true") or [0] * n
        if (
            any(len(found) != n for found in lists.values())
            or values is None
            or len(values) != n
            or len(missing) != n
        ):
            raise _damaged(str(attributes.node), "lists of different lengths")
        if (mode < 0).any():
            raise _damaged(str(attributes.node), "a comparison that there is not")
        places = Places(str(attributes.node), lists["treeids"], lists["nodeids"])
        inner = mode != LEAF
        ways = {
            name: np.where(
                inner, places.of(lists["treeids"], np.where(inner, lists[source], lists["nodeids"])), 0
            )
            for name, source in (("yes", "truenodeids"), ("no", "falsenodeids"))
        }
        questions = {
            "feature": np.where(inner, lists["featureids"], 0),
            "mode": mode,
            "value": values.numpy(),
            **ways,
            "missing": np.array(missing, dtype=bool),
        }
        _, first = np.unique(lists["treeids"], return_index=True)
        self.shape_trees(attributes, questions, np.sort(first), self._leaves(attributes, places))

    def _leaves(self, attributes: Attributes, places: Places) -> tuple[Array, Array, Array]:
        trees, nodes, targets = (
            np.array(attributes.integers(f"{self.gives}_{name}") or [], dtype=np.int64)
            for name in ("treeids", "nodeids", "ids")
        )
        weights = attributes.values(f"{self.gives}_weights")
        if weights is None or len(trees) != len(nodes):
            raise _damaged(str(attributes.node), "lists of different lengths")
        return places.of(trees, nodes), targets, weights.numpy()


class Places:
    """From a tree's id and a node's number in it to the node's place in the lists."""

    def __init__(self, node: str, trees: Array, numbers: Array) -> None:
        self.node = node
        if (
            (trees < 0).any()
            or (numbers < 0).any()
            or max(trees.max(initial=0), numbers.max(initial=0)) >= 1 << 31
        ):
            raise _damaged(node, "numbers of nodes that there are not")
        self.keys, self.order = np.unique(self._key(trees, numbers), return_index=True)
        if len(self.keys) != len(trees):
            raise _damaged(node, "two nodes of one number")

    def of(self, trees: Array, numbers: Array) -> Array:
        wanted = self._key(trees, numbers)
        found = np.searchsorted(self.keys, wanted).clip(max=max(len(self.keys) - 1, 0))
        if (numbers < 0).any() or len(self.keys) == 0 or (self.keys[found] != wanted).any():
            raise _damaged(self.node, "a way to a node that there is not")
        return np.asarray(self.order[found])

    def _key(self, trees: Array, numbers: Array) -> Array:
        return np.asarray((trees << 31) + numbers)


class TreeEnsembleClassifier(NodeLists):
    """Labels and probabilities.

    Two classes may be held as the one score of the second, and what their base values mean the standard leaves open:
    here as onnxruntime reads them.
    """

    max_outputs = 2
    gives = "class"

    def configure(self, attributes: Attributes) -> None:
        self.labels = Labels(attributes)
        self.how = post_transform(attributes)
        self.targets = max(len(self.labels), 1)
        self.read(attributes)
        weights = attributes.values("class_weights")
        self.given = set(attributes.integers("class_ids") or [])
        self.is_share = weights is not None and bool((weights >= 0).all())
        if self.targets < 2 or (self.targets == 2 and self.how == "PROBIT"):
            attributes.refuse(f"{self.targets} classes and post_transform={self.how}")

    def compute(self, x: Tensor) -> tuple[Data, Tensor]:
        if self.targets > 2:
            answer = transformed(self.sums(x), self.how)
            return self.labels.of(answer), answer.float()
        first, second = self._two(self.sums(x, with_base=False))
        if second is None:
            answer, decisive = both_classes(first, self.how, self.is_share), first
        else:
            answer, decisive = transformed(torch.cat([first, second], 1), self.how), second
        positive = decisive[:, 0] > (0.5 if self.is_share and second is None else 0.0)
        return self.labels.at(positive.long()), answer.float()

    def _two(self, scores: Tensor) -> tuple[Tensor, Tensor | None]:
        first, second = scores[:, :1], scores[:, 1:]
        base = self.base
        if base is not None and len(base) == 2:
            return (-(first + base[1]), first + base[1]) if 1 in self.given else (first, second)
        if base is not None and 0 in self.given:
            first = first + base
        return first, second if 1 in self.given else None


class TreeEnsembleRegressor(NodeLists):
    """Sum, mean, least or largest of the leaves."""

    def configure(self, attributes: Attributes) -> None:
        self.aggregate = attributes.text("aggregate_function", "SUM")
        self.how = post_transform(attributes)
        if self.aggregate not in AGGREGATES:
            raise _damaged(str(attributes.node), f"aggregate_function={self.aggregate}")
        self.targets = max(attributes.integer("n_targets", 1), 1)
        self.refuse_giant([self.targets])
        self.read(attributes)

    def compute(self, x: Tensor) -> Tensor:
        return regressed(self.sums(x), self.how).float()


class TreeEnsemble(Ensemble):
    """Opset 5: children by place, leaves apart from questions, questions of membership in a set."""

    def configure(self, attributes: Attributes) -> None:
        node = str(attributes.node)
        self.aggregate = _coded(attributes, "aggregate_function", AGGREGATES, 1)
        self.how = _coded(attributes, "post_transform", TRANSFORMS, 0)
        self.targets = max(attributes.integer("n_targets", 1), 1)
        self.refuse_giant([self.targets])
        attributes.ignore("nodes_hitrates")
        yes, no, yes_leaf, no_leaf, feature, roots, targets = (
            np.array(attributes.integers(name) or [], dtype=np.int64)
            for name in (
                "nodes_truenodeids", "nodes_falsenodeids", "nodes_trueleafs", "nodes_falseleafs",
                "nodes_featureids", "tree_roots", "leaf_targetids",
            )
        )  # fmt: skip
        mode, splits, weights = (
            attributes.values(n) for n in ("nodes_modes", "nodes_splits", "leaf_weights")
        )
        n, m = len(yes), len(targets)
        missing = np.array(attributes.integers("nodes_missing_value_tracks_true") or [0] * n, dtype=bool)
        lists = (yes, no, yes_leaf, no_leaf, feature, missing, mode, splits)
        if (
            any(part is None or len(part) != n for part in lists)
            or mode is None
            or splits is None
            or weights is None
        ):
            raise _damaged(node, "lists of different lengths")
        for way, is_leaf in ((yes, yes_leaf), (no, no_leaf)):
            if (way < 0).any() or (way >= np.where(is_leaf, m, n)).any():
                raise _damaged(node, "a way to a node that there is not")
        if (
            int(mode.max(initial=0) if isinstance(mode, np.ndarray) else mode.max()) >= LEAF
            or len(weights) != m
        ):
            raise _damaged(node, "a comparison that there is not")
        self._hold_members(attributes, mode.numpy().astype(np.int64), m)
        questions = {
            "feature": np.concatenate([feature, np.zeros(m, np.int64)]),
            "mode": np.concatenate([mode.numpy().astype(np.int64), np.full(m, LEAF)]),
            "value": np.concatenate([splits.numpy(), np.zeros(m, splits.numpy().dtype)]),
            "yes": np.concatenate([yes + n * (yes_leaf != 0), np.zeros(m, np.int64)]),
            "no": np.concatenate([no + n * (no_leaf != 0), np.zeros(m, np.int64)]),
            "missing": np.concatenate([missing, np.zeros(m, bool)]),
        }
        self.shape_trees(attributes, questions, roots, (np.arange(n, n + m), targets, weights.numpy()))

    def _hold_members(self, attributes: Attributes, mode: Array, leaves: int) -> None:
        """The sets stand one after the other, each ended by NaN, in the order of the questions that ask for them."""
        values = attributes.values("membership_values")
        asking = np.flatnonzero(mode == MODES.index("BRANCH_MEMBER"))
        listed = np.array([]) if values is None else values.numpy()
        ends = np.flatnonzero(np.isnan(listed))
        if len(ends) != len(asking):
            raise _damaged(str(attributes.node), f"{len(ends)} sets for {len(asking)} questions")
        widest = int(np.diff(ends, prepend=-1).max(initial=1))
        self.refuse_giant([len(asking) + 1, widest])
        members = np.full((len(asking) + 1, widest), np.nan, dtype=np.float64)
        for row, (start, end) in enumerate(zip([0, *(ends[:-1] + 1)], ends, strict=False)):
            members[row, : end - start] = listed[start:end]
        row_of = np.zeros(len(mode) + leaves, dtype=np.int64)
        row_of[asking] = np.arange(len(asking))
        self.register_buffer("members", torch.from_numpy(members))
        self.register_buffer("member_row", torch.from_numpy(row_of))

    def compute(self, x: Tensor) -> Tensor:
        return regressed(self.sums(x), self.how).to(x.dtype)


def _coded(attributes: Attributes, name: str, names: tuple[str, ...], default: int) -> str:
    code = attributes.integer(name, default)
    if not 0 <= code < len(names):
        raise _damaged(str(attributes.node), f"{name}={code}")
    return names[code]


def _refuse_lost_ways(node: str, questions: dict[str, Array], roots: Array) -> None:
    """From a root that is nobody's child, through questions that are one's child each, every way ends at a leaf."""
    n, inner = len(questions["mode"]), questions["mode"] != LEAF
    children = np.concatenate([questions["yes"][inner], questions["no"][inner]])
    if len(roots) and (roots.min() < 0 or roots.max() >= n):
        raise _damaged(node, "a root that there is not")
    if (questions["feature"] < 0).any():
        raise _damaged(node, "a negative column")
    parents = np.bincount(children, minlength=n)
    if (parents[inner] > 1).any() or (parents[roots] > 0).any() or len(np.unique(roots)) != len(roots):
        raise _damaged(node, "a way that leads in a circle")


def _damaged(node: str, what: str) -> UnsafeOnnx:
    return UnsafeOnnx(f"The trees of {node} are damaged: {what}. Export the model again.")

"""ONNX graphs that are one ensemble of trees, read by the same checked reader that evaluates them.

Around the trees only operators may stand that rearrange: what comes before them keeps the columns, what comes after
keeps the scores. The files hold no training weights, so every cover is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from explainers.errors import UnsupportedModel
from explainers.onnx.graph import Graph, Node
from explainers.onnx.operators import ENSEMBLES, operator_class
from explainers.onnx.operators.ml_trees import LEAF, MODES, Ensemble, TreeEnsembleClassifier
from explainers.onnx.reading import read_graph
from explainers.trees.ensemble import Link, Tree, TreeEnsemble
from explainers.trees.single_precision import at_most, below

BEFORE = {"Cast", "Identity"}
AFTER = {"Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "ZipMap"}

LINKS: dict[str, Link] = {"NONE": "identity", "SOFTMAX": "softmax", "LOGISTIC": "logistic"}

#: Leaves and base values of each output, and the link with its slope.
Scores = tuple[np.ndarray, np.ndarray, Link, float]


def of_model(model: Any) -> TreeEnsemble:
    """An `onnx.ModelProto`, or a checked `Graph`; raises `UnsupportedModel` where it is more than trees."""
    graph = model if isinstance(model, Graph) else read_graph(model.SerializeToString())
    node = _only_ensemble(graph)
    dtype = _compared_as(graph, node)
    operator = operator_class(node)(node, graph.constants, graph.opset, graph.limits)
    assert isinstance(operator, Ensemble)  # what `ENSEMBLES` names
    if operator.aggregate not in ("SUM", "AVERAGE"):
        raise UnsupportedModel(
            f"{node} takes the {operator.aggregate} of its trees, which is no sum. Use KernelShap."
        )
    value, base, link, slope = _scores(operator)
    if operator.aggregate == "AVERAGE":
        value = value / len(operator.roots)
    arrays = _questions(operator, dtype == torch.float32)
    trees = [_tree(int(root), arrays, value) for root in operator.roots]
    shape = graph.inputs[0].shape or ()
    columns = shape[1] if len(shape) == 2 and shape[1] else operator.columns
    return TreeEnsemble.of(
        trees, base, columns, single=dtype == torch.float32, link=link, slope=slope, family="ONNX tree model"
    )


def _only_ensemble(graph: Graph) -> Node:
    """The tree node, where its scores reach the outputs unchanged."""
    found = [node for node in graph.nodes if node.op_type in ENSEMBLES]
    if len(found) != 1 or len(graph.inputs) != 1:
        raise UnsupportedModel(
            f"The ONNX file has {len(found)} ensembles of trees and {len(graph.inputs)} inputs; one of each can be "
            "read. Use KernelShap."
        )
    made = {found[0].outputs[-1]}
    for node in graph.nodes:
        if made.intersection(node.reads):
            if node.op_type not in AFTER:
                raise _more(node)
            made.update(node.outputs)
    return found[0]


def _compared_as(graph: Graph, trees: Node) -> torch.dtype:
    """The precision of the values that the trees compare."""
    makers = {output: node for node in graph.nodes for output in node.outputs}
    name, dtype = trees.inputs[0], None
    while name in makers:
        node = makers[name]
        if node.op_type not in BEFORE:
            raise _more(node)
        if node.op_type == "Cast" and dtype is None:
            dtype = {1: torch.float32, 11: torch.float64}.get(int(node.attributes["to"]), torch.int64)  # type: ignore[arg-type]
        name = node.inputs[0]
    dtype = dtype or graph.inputs[0].dtype
    if dtype not in (torch.float32, torch.float64):
        raise UnsupportedModel(
            f"The ONNX trees compare values of type {dtype}; float and double can be read. Use KernelShap."
        )
    return dtype


def _scores(operator: Any) -> Scores:
    table = operator.table.double().numpy()[operator.row_of.numpy()]
    base = np.zeros(operator.targets)
    if operator.base is not None:
        base = base + operator.base.double().numpy()
    if isinstance(operator, TreeEnsembleClassifier) and operator.targets == 2:
        return _two_classes(operator, table)
    if operator.targets == 1 and operator.how != "PROBIT":  # onnxruntime leaves a single number as it is
        return table, base, "identity", 1.0
    if operator.how not in LINKS:
        raise _transformed(operator)
    shares = isinstance(operator, TreeEnsembleClassifier) and operator.is_share and operator.how == "NONE"
    return table, base, "probability" if shares else LINKS[operator.how], 1.0


def _two_classes(operator: TreeEnsembleClassifier, table: np.ndarray) -> Scores:
    """One output, of the second class; which of the many ways to write it is meant, is as onnxruntime reads it."""
    base = np.zeros(0) if operator.base is None else operator.base.double().numpy()
    first, how = table[:, :1], operator.how
    if 1 not in operator.given and len(base) < 2:
        start = base if len(base) else np.zeros(1)
        if how == "LOGISTIC":
            return first, start, "logistic", 1.0
        if how == "NONE":
            return first, start, "probability" if operator.is_share else "identity", 1.0
    elif 1 in operator.given and len(base) == 2 and how in LINKS:
        return first, base[1:], "identity" if how == "NONE" else "logistic", 2.0 if how == "SOFTMAX" else 1.0
    elif 1 in operator.given and len(base) < 2:
        start = base if len(base) and 0 in operator.given else np.zeros(1)
        if how == "SOFTMAX":
            return table[:, 1:] - first, -start, "logistic", 1.0
        if how == "NONE" and operator.is_share and _adds_to_one(operator, table, float(start[0])):
            return table[:, 1:], np.zeros(1), "probability", 1.0
    raise _transformed(operator)


def _adds_to_one(operator: TreeEnsembleClassifier, table: np.ndarray, base: float) -> bool:
    """Whether both classes' scores add to 1 in every row: each tree's leaves to one number, these numbers to 1."""
    total = base
    for root in operator.roots.tolist():
        places = [place for place, *_ in _walk(int(root), _ways(operator)) if operator.mode[place] == LEAF]
        found = table[places].sum(axis=1)
        if np.ptp(found) > 1e-5:
            return False
        total += float(found[0])
    return abs(total - 1) < 1e-4


def _ways(operator: Ensemble) -> tuple[np.ndarray, np.ndarray]:
    """Children of every place, -1 at leaves."""
    leaf = operator.mode.numpy() == LEAF
    return np.where(leaf, -1, operator.yes.numpy()), np.where(leaf, -1, operator.no.numpy())


def _questions(operator: Ensemble, single: bool) -> dict[str, np.ndarray]:
    """Every place's question by the one rule: "greater" becomes "at most" with its ways exchanged."""
    mode, limit = operator.mode.numpy(), operator.value.double().numpy()
    strange = sorted({MODES[code] for code in np.unique(mode) if code in (4, 5, 6)})
    if strange:
        raise UnsupportedModel(
            f"The ONNX trees ask {', '.join(strange)}, which is no threshold. Use KernelShap."
        )
    lower = below(limit) if single else np.nextafter(limit, -np.inf)
    inclusive = np.isin(mode, (MODES.index("BRANCH_LEQ"), MODES.index("BRANCH_GT")))
    greater = np.isin(mode, (MODES.index("BRANCH_GTE"), MODES.index("BRANCH_GT")))
    yes, no = _ways(operator)
    return {
        "feature": operator.feature.numpy(),
        "threshold": np.where(inclusive, at_most(limit) if single else limit, lower),
        "left": np.where(greater, no, yes),
        "right": np.where(greater, yes, no),
        "missing_left": operator.missing.numpy() ^ greater,
    }


def _tree(root: int, arrays: dict[str, np.ndarray], value: np.ndarray) -> Tree:
    """One tree with places of its own; a leaf that several questions share is written out for each."""
    nodes = _walk(root, (arrays["left"], arrays["right"]))
    places = np.array([node[0] for node in nodes])
    found = value[places]
    return Tree(
        feature=arrays["feature"][places],
        threshold=arrays["threshold"][places],
        left=np.array([node[1] for node in nodes]),
        right=np.array([node[2] for node in nodes]),
        missing_left=arrays["missing_left"][places],
        value=found[:, 0] if found.shape[1] == 1 else found,
        cover=np.zeros(len(nodes)),
    )


def _walk(root: int, ways: tuple[np.ndarray, np.ndarray]) -> list[list[int]]:
    """The places from a root down, each with its children's positions in this list."""
    nodes: list[list[int]] = [[root, -1, -1]]
    for node in nodes:  # grows while it is read
        for side in (0, 1):
            child = int(ways[side][node[0]])
            if child >= 0:
                node[1 + side] = len(nodes)
                nodes.append([child, -1, -1])
    return nodes


def _more(node: Node) -> UnsupportedModel:
    return UnsupportedModel(f"The ONNX file does more than ask trees: {node}. Use KernelShap.")


def _transformed(operator: Any) -> UnsupportedModel:
    return UnsupportedModel(
        f"{operator.node} makes its {operator.targets} outputs in a way that has no sum of trees "
        f"(post_transform={operator.how}). Use KernelShap."
    )

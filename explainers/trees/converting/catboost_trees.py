"""CatBoost's trees from its JSON export: a row goes right where its value, in single precision, is over the border.

A symmetric tree asks one question at each level; the leaf's number has a bit for each, the first question's lowest.
Categories are asked as statistics of the target or as single values, which are no thresholds: such models are refused.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from explainers.errors import UnsupportedModel
from explainers.trees.ensemble import Link, Tree, TreeEnsemble

#: Losses whose prediction is not the sum itself. CatBoost's regressor answers exp of the sum for the last two.
LINKS: dict[str, Link] = {
    "Logloss": "logistic", "CrossEntropy": "logistic", "MultiClass": "softmax", "MultiClassOneVsAll": "logistic",
    "Poisson": "exp", "Tweedie": "exp",
}  # fmt: skip

#: Losses of several targets, or of a target and its spread.
SEVERAL = (
    "MultiRMSE",
    "MultiLogloss",
    "MultiCrossEntropy",
    "MultiRMSEWithMissingValues",
    "RMSEWithUncertainty",
)

#: What a split is, where it is no border of a number.
STRANGE = {
    "OnlineCtr": "statistics of the target for each category",
    "OneHotFeature": "single categories, which it knows by their hash only",
}


def of_model(model: Any) -> TreeEnsemble:
    """A fitted CatBoost model; raises `UnsupportedModel` for splits on categories, and for several targets."""
    if not model.is_fitted():
        raise UnsupportedModel(f"{type(model).__name__} is not fitted. Fit it before opening.")
    return of_export(exported(model), f"CatBoost {type(model).__name__}", len(model.feature_names_))


def exported(model: Any) -> dict[str, Any]:
    """CatBoost's own JSON export; CatBoost writes to files only."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        try:
            model.save_model(str(path), format="json")
        except Exception as error:  # CatBoost's errors share no base with the other libraries'
            text = str(error).rpartition(": ")[2].strip()[:200] or type(error).__name__
            raise UnsupportedModel(f"CatBoost cannot export these trees: {text}. Use KernelShap.") from error
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def of_export(export: dict[str, Any], family: str, columns: int) -> TreeEnsemble:
    """From the content of a JSON export; `columns` counts those that no tree asks as well."""
    loss = str(export["model_info"]["params"]["loss_function"]["type"])
    if loss in SEVERAL:
        raise UnsupportedModel(
            f"This {family} predicts several numbers at once (loss {loss}). Use KernelShap."
        )
    scale, bias = export["scale_and_bias"]
    outputs = len(bias)
    floats = {entry["feature_index"]: entry for entry in export["features_info"].get("float_features", ())}
    read = _symmetric if "oblivious_trees" in export else _branching
    trees = [
        read(tree, floats, float(scale), outputs, family)
        for tree in export.get("oblivious_trees", export.get("trees", ()))
    ]
    return TreeEnsemble.of(
        trees, np.array(bias, dtype=np.float64), columns, single=True, link=LINKS.get(loss, "identity"), family=family,
    )  # fmt: skip


def _question(split: dict[str, Any], floats: dict[int, Any], family: str) -> tuple[int, float, bool]:
    """Column, threshold, and whether a missing value goes left."""
    kind = split["split_type"]
    if kind != "FloatFeature":
        what = STRANGE.get(kind, f"what CatBoost calls {kind}")
        raise UnsupportedModel(
            f"The trees of this {family} split on {what}; that is no threshold of a column. Use KernelShap."
        )
    column = floats[split["float_feature_index"]]
    # "AsIs": there was nothing missing in training; nothing is over a border.
    return column["flat_feature_index"], split["border"], column["nan_value_treatment"] != "AsTrue"


def _symmetric(tree: dict[str, Any], floats: dict[int, Any], scale: float, outputs: int, family: str) -> Tree:
    """The last question becomes the root, so that the leaves stand in the order of their numbers."""
    questions = [_question(split, floats, family) for split in reversed(tree.get("splits") or ())]
    depth = len(questions)
    inner, leaves = (1 << depth) - 1, 1 << depth
    level = np.repeat(np.arange(depth), [1 << step for step in range(depth)]) if depth else np.zeros(0, int)
    asked = [np.array([question[part] for question in questions]) for part in range(3)]
    here = np.arange(inner)
    value = np.array(tree["leaf_values"], dtype=np.float64).reshape(leaves, outputs) * scale
    weights = tree.get("leaf_weights") or np.zeros(leaves)
    covers = [np.array(weights, dtype=np.float64)]
    for _ in range(depth):
        covers.append(covers[-1].reshape(-1, 2).sum(axis=1))
    return Tree(
        feature=np.concatenate([asked[0][level], np.full(leaves, -1)]).astype(np.int64),
        threshold=np.concatenate([_single(asked[1][level]), np.zeros(leaves)]),
        left=np.concatenate([2 * here + 1, np.full(leaves, -1)]),
        right=np.concatenate([2 * here + 2, np.full(leaves, -1)]),
        missing_left=np.concatenate([asked[2][level], np.zeros(leaves)]).astype(bool),
        value=_by_output(np.concatenate([np.zeros((inner, outputs)), value])),
        cover=np.concatenate(covers[::-1]),
    )


def _branching(tree: dict[str, Any], floats: dict[int, Any], scale: float, outputs: int, family: str) -> Tree:
    """A tree that asks its own question at each node, as nested objects."""
    nodes: list[dict[str, Any]] = []
    children: list[tuple[int, int]] = []
    waiting: list[tuple[dict[str, Any], int, int]] = [(tree, -1, 0)]
    while waiting:
        node, above, side = waiting.pop()
        if above >= 0:
            children[above] = (
                (len(nodes), children[above][1]) if side == 0 else (children[above][0], len(nodes))
            )
        here = len(nodes)
        nodes.append(node)
        children.append((-1, -1))
        if "split" in node:
            waiting += [(node["right"], here, 1), (node["left"], here, 0)]
    asked = [
        _question(node["split"], floats, family) if "split" in node else (-1, 0.0, False) for node in nodes
    ]
    value = np.zeros((len(nodes), outputs))
    cover = np.array([float(node.get("weight", 0.0)) for node in nodes])
    for here in range(len(nodes) - 1, -1, -1):  # children stand behind their parents
        if children[here][0] >= 0:
            cover[here] = cover[list(children[here])].sum()
        else:
            value[here] = scale * np.asarray(nodes[here]["value"], dtype=np.float64)
    return Tree(
        feature=np.array([question[0] for question in asked]),
        threshold=_single(np.array([question[1] for question in asked])),
        left=np.array([pair[0] for pair in children]),
        right=np.array([pair[1] for pair in children]),
        missing_left=np.array([question[2] for question in asked]),
        value=_by_output(value),
        cover=cover,
    )


def _single(border: np.ndarray) -> np.ndarray:
    """Borders are single-precision numbers, written as text."""
    return border.astype(np.float32).astype(np.float64)


def _by_output(value: np.ndarray) -> np.ndarray:
    return value[:, 0] if value.shape[1] == 1 else value

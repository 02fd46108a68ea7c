"""XGBoost's trees from its own JSON or UBJ, as a file holds it or as a booster in memory writes it.

A row goes left where float32(x) < threshold. A category that a node lists goes right, every other one left. The sum
starts from the margin of the base score, which is stored on the scale of the prediction.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from explainers.errors import UnsupportedModel
from explainers.trees.converting.training_columns import TrainingColumns
from explainers.trees.ensemble import Link, Sets, Tree, TreeEnsemble
from explainers.trees.single_precision import below

_LOGISTIC = ("binary:logistic", "reg:logistic")
_EXP = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
_SOFTMAX = ("multi:softprob", "multi:softmax")

#: Objective -> from the sum to the prediction; those that are not here predict the sum itself.
LINKS: dict[str, Link] = {
    **dict.fromkeys(_LOGISTIC, "logistic"),
    "binary:logitraw": "logistic",  # the library's own answer is the sum; here it is shown as a probability
    **dict.fromkeys(_EXP, "exp"),
    **dict.fromkeys(_SOFTMAX, "softmax"),
}


def of_parsed(parsed: Any) -> TreeEnsemble:
    """The trees of a parsed model, up to its best round where it names one; trusts indices and sizes.

    Raises `UnsupportedModel` for linear boosters, leaves of several values, and objectives that answer labels only.
    """
    learner = parsed["learner"]
    booster = learner["gradient_booster"]
    name, objective = booster["name"], learner["objective"]["name"]
    if name == "gblinear":
        raise UnsupportedModel("This XGBoost model is linear (gblinear) and has no trees. Use KernelShap.")
    if objective == "binary:hinge":
        raise UnsupportedModel("XGBoost's binary:hinge answers labels only. Train it with binary:logistic.")
    model = booster["gbtree"]["model"] if name == "dart" else booster["model"]
    base, link = start(learner)
    count = _best(learner, model, len(base))
    weights = booster["weight_drop"] if name == "dart" else np.ones(len(model["trees"]))
    sets: list[np.ndarray] = []
    trees = [
        _tree(tree, int(output), float(np.float32(weight)), sets)
        for tree, output, weight in zip(model["trees"][:count], model["tree_info"], weights, strict=False)
    ]
    return TreeEnsemble.of(
        trees,
        base,
        int(learner["learner_model_param"]["num_feature"]),
        single=True,
        sets=Sets.of(sets),
        link=link,
        family=f"XGBoost ({objective})",
    )


def of_booster(obj: Any) -> TreeEnsemble:
    """The trees of a Booster, or of one of the library's scikit-learn classes, as they are in memory."""
    return of_parsed(parsed_booster(obj))


def parsed_booster(obj: Any) -> Any:
    """What a file of this booster would hold; UBJ has the single-precision numbers bit by bit."""
    from explainers.loading.ubjson import decode

    booster = obj.get_booster() if hasattr(obj, "get_booster") else obj
    return decode(bytes(booster.save_raw("ubj")))


def start(learner: Any) -> tuple[np.ndarray, Link]:
    """The margin that each output starts from ``(k,)``, and the link of the objective."""
    told = learner["learner_model_param"]
    outputs = max(1, int(told["num_class"]), int(told.get("num_target", 1)))
    text = str(told["base_score"]).strip().removeprefix("[").removesuffix("]")
    scores = np.array([float(part) for part in text.split(",")], dtype=np.float32).astype(np.float64)
    objective = learner["objective"]["name"]
    with np.errstate(divide="ignore", invalid="ignore"):
        if objective in _LOGISTIC:
            scores = -np.log(1.0 / scores - 1.0)
        elif objective in _EXP:
            scores = np.log(scores)
    if not np.isfinite(scores).all():
        raise UnsupportedModel(
            f"The base score {text} does not fit XGBoost's {objective}. Train the model with another base_score."
        )
    return np.broadcast_to(scores, (outputs,)).copy(), LINKS.get(objective, "identity")


def columns(parsed: Any) -> TrainingColumns:
    """The model's columns and, since version 3.1, the categories that it was trained on."""
    learner = parsed["learner"]
    kinds = learner.get("feature_types", [])
    model = learner["gradient_booster"]
    model = model.get("gbtree", model).get("model", {})
    encodings = (model.get("cats") or {}).get("enc", [])
    stored = {j: category_index(encoding) for j, encoding in enumerate(encodings) if len(encoding["values"])}
    return TrainingColumns(
        int(learner["learner_model_param"]["num_feature"]),
        "XGBoost",
        tuple(learner.get("feature_names", [])) or None,
        stored,
        coded=frozenset(j for j, kind in enumerate(kinds) if kind == "c") | frozenset(stored),
        strict=True,
    )


def category_index(encoding: Any) -> pd.Index:
    """Texts are stored as their bytes, one behind the other; whole numbers as they are.

    XGBoost counts letters of pandas' categories and cuts their bytes at that number (3.1 and 3.2), so that texts
    beyond ASCII lose letters at the end; NUL stands for each of those.
    """
    values = np.asarray(encoding["values"], dtype=np.int64)
    if "offsets" not in encoding:
        return pd.Index(values)
    content = values.astype(np.int8).tobytes()
    ends = np.asarray(encoding["offsets"], dtype=np.int64).tolist()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(content):  # not the last letter, cut through
            raise
        text = content[: error.start].decode("utf-8")
    text = text.ljust(len(content), "\0")
    return pd.Index([text[a:b] for a, b in itertools.pairwise(ends)], dtype=object)


def _best(learner: Any, model: Any, outputs: int) -> int:
    """How many trees predict: those of all rounds up to the best."""
    best = (learner.get("attributes") or {}).get("best_iteration")
    if best is None:
        return len(model["trees"])
    if "iteration_indptr" in model:
        return int(model["iteration_indptr"][int(best) + 1])
    return (
        (int(best) + 1) * outputs * int(model["gbtree_model_param"]["num_parallel_tree"])
    )  # before version 2


def _tree(tree: Any, output: int, weight: float, sets: list[np.ndarray]) -> Tree:
    """One tree; adds its sets of categories to `sets`."""
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise UnsupportedModel(
            "This XGBoost model has trees with several values in a leaf. Train it with multi_strategy='one_output_per_tree'."
        )
    stored = np.asarray(tree["split_conditions"], dtype=np.float32)
    left = np.asarray(tree["left_children"], dtype=np.int64)
    return Tree(
        feature=np.asarray(tree["split_indices"], dtype=np.int64),
        threshold=below(stored),
        left=left,
        right=np.asarray(tree["right_children"], dtype=np.int64),
        missing_left=np.asarray(tree["default_left"], dtype=bool),
        value=weight * stored.astype(np.float64),
        cover=np.asarray(tree["sum_hessian"], dtype=np.float64),
        output=output,
        chosen=_chosen(tree, len(left), sets),
    )


def _chosen(tree: Any, nodes: int, sets: list[np.ndarray]) -> np.ndarray | None:
    kinds = np.asarray(tree.get("split_type", []), dtype=np.int64)
    if not kinds.any():
        return None
    chosen = np.full(nodes, -1, dtype=np.int64)
    listed = np.asarray(tree["categories"], dtype=np.int64)
    places = (
        np.asarray(tree[f"categories_{part}"], dtype=np.int64) for part in ("nodes", "segments", "sizes")
    )
    for node, first, size in zip(*(part.tolist() for part in places), strict=True):
        right = listed[first : first + size]
        left = np.ones(int(right.max()) + 2, dtype=bool)  # what no list names goes left
        left[right] = False
        chosen[node] = len(sets)
        sets.append(left)
    return chosen

"""What XGBoost trusts in its JSON and UBJ: sizes against each other, every index, every number that it adds up."""

from __future__ import annotations

from typing import Any

import numpy as np

from explainers.errors import UnsupportedModel
from explainers.loading.sources import File
from explainers.loading.structure import SINGLE, damaged, entry, finite, number, numbers, tree, whole, within
from explainers.trees.converting.xgboost_trees import category_index

MOST = 10_000_000  # what a number in the file may be before the limits speak
DELETED = 2**31 - 1  # the split feature of a node that pruning has removed
KINDS = ("float", "int", "i", "q", "c")
SEVERAL = "several outputs"
#: Objective -> how many outputs it takes: 1, "several outputs", or 0 for any.
OBJECTIVES: dict[str, int | str] = {
    **dict.fromkeys(("multi:softprob", "multi:softmax"), SEVERAL),
    **dict.fromkeys(("binary:logistic", "binary:logitraw", "binary:hinge"), 1),
    **dict.fromkeys(
        ("reg:squarederror", "reg:squaredlogerror", "reg:logistic", "reg:pseudohubererror", "reg:absoluteerror",
         "reg:quantileerror", "reg:expectileerror", "reg:gamma", "reg:tweedie", "reg:linear", "count:poisson",
         "survival:cox", "survival:aft", "rank:pairwise", "rank:ndcg", "rank:map"), 0
    ),
}  # fmt: skip


def check(parsed: Any, form: str, file: File) -> None:
    """Raise `UnreadableFile` unless every index in the model points at something and its parts agree."""
    learner = entry(parsed, "learner", form)
    features, outputs = _sizes(learner, form, file)
    kinds = learner.get("feature_types", [])
    for name in ("feature_names", "feature_types"):
        _texts(learner.get(name, []), features, form, name)
    if not set(kinds) <= set(KINDS):
        damaged(form, "'feature_types' names a kind that is unknown")
    booster = entry(learner, "gradient_booster", form)
    name = entry(booster, "name", form, str)
    rounds = 0
    if name == "gblinear":
        weights = entry(entry(booster, "model", form), "weights", form, (list, np.ndarray))
        finite(
            numbers(weights, form, "the list of weights", (features + 1) * outputs),
            form,
            "the list of weights",
            SINGLE,
        )
    elif name == "dart":
        weights = entry(booster, "weight_drop", form, (list, np.ndarray))
        booster = entry(booster, "gbtree", form)
        trees, rounds = _trees(entry(booster, "model", form), features, outputs, form, file)
        finite(
            numbers(weights, form, "the list of tree weights", trees),
            form,
            "the list of tree weights",
            SINGLE,
        )
    elif name == "gbtree":
        _, rounds = _trees(entry(booster, "model", form), features, outputs, form, file)
    else:
        damaged(form, f"the booster {name[:40]!r} is unknown")
    told = learner.get("attributes", {})
    if rounds and isinstance(told, dict) and "best_iteration" in told:
        number(told, "best_iteration", form, 0, rounds - 1)


def _sizes(learner: Any, form: str, file: File) -> tuple[int, int]:
    """How many features and outputs; the head, the objective and the base score must agree on them."""
    told = entry(learner, "learner_model_param", form)
    features = number(told, "num_feature", form, 0, MOST)
    classes = number(told, "num_class", form, 0, MOST)
    targets = number(told, "num_target", form, 1, MOST) if "num_target" in told else 1
    outputs = max(1, classes, targets)
    file.limits.hold(file.name, "columns", features)
    file.limits.hold(file.name, "columns", outputs, advice="Here they are outputs of the model.")
    objective = entry(learner, "objective", form)
    name = entry(objective, "name", form, str)
    takes = OBJECTIVES.get(name)
    if takes is None:
        damaged(form, f"the objective {name[:40]!r} is unknown")
    if takes == 1 and targets > 1 and classes < 2:
        raise UnsupportedModel(
            f"This XGBoost model answers {targets} questions at once. Open one model for each target."
        )
    if (takes == 1 and outputs > 1) or (takes == SEVERAL and (classes < 2 or targets > 1)):
        damaged(form, f"the objective {name!r} does not fit {outputs} outputs")
    if takes == SEVERAL:
        number(entry(objective, "softmax_multiclass_param", form), "num_class", form, classes, classes)
    _base_score(told, outputs, form)
    return features, outputs


def _base_score(told: Any, outputs: int, form: str) -> None:
    """One number, or since version 3.1 a list of one for each output, as text."""
    text = entry(told, "base_score", form, str).strip()
    try:
        scores = [float(part) for part in text.removeprefix("[").removesuffix("]").split(",")]
    except ValueError:
        damaged(form, "'base_score' is not a number")
    finite(np.array(scores), form, "'base_score'", SINGLE)
    if len(scores) not in (1, outputs):
        damaged(form, f"'base_score' has {len(scores)} values for {outputs} outputs")


def _texts(values: Any, features: int, form: str, what: str) -> None:
    if (
        not isinstance(values, list)
        or len(values) not in (0, features)
        or not all(isinstance(v, str) for v in values)
    ):
        damaged(form, f"{what!r} does not name the {features} features")
    if what == "feature_names" and len(set(values)) < len(values):
        damaged(form, "two features have one name")


def _trees(model: dict[str, Any], features: int, outputs: int, form: str, file: File) -> tuple[int, int]:
    """Check all trees; how many there are, and in how many rounds they were made."""
    trees = entry(model, "trees", form, list)
    told = entry(model, "gbtree_model_param", form)
    count = number(told, "num_trees", form, 0, MOST)
    if count != len(trees):
        damaged(form, f"{count} trees are announced and {len(trees)} are there")
    of = whole(model.get("tree_info"), form, "'tree_info'", count)
    within(of, 0, outputs, form, "'tree_info'")
    rounds = whole(model.get("iteration_indptr", [0, count]), form, "'iteration_indptr'")
    if len(rounds) == 0 or rounds[0] != 0 or rounds[-1] != count or (np.diff(rounds) < 0).any():
        damaged(form, "the rounds do not cover the trees")
    if "iteration_indptr" not in model:  # before version 2
        rounds = np.arange(1 + count // (outputs * number(told, "num_parallel_tree", form, 1, MOST)))
    _categories(model.get("cats"), features, form)
    nodes = categories = 0
    for position, single in enumerate(trees):
        found = _tree(single, features, form, f"tree {position}", file)
        nodes, categories = nodes + found[0], categories + found[1]
        file.limits.hold(file.name, "nodes", nodes)
        file.limits.hold(file.name, "unpacked_bytes", categories)
        if number(single, "id", form, 0, MOST) != position:
            damaged(form, f"tree {position} has another number")
    each = np.bincount(of, minlength=outputs)
    if (each != each[0]).any():
        damaged(form, f"its {count} trees are not shared equally among {outputs} outputs")
    return count, len(rounds) - 1


def _tree(single: Any, features: int, form: str, what: str, file: File) -> tuple[int, int]:
    """Check one tree; how many nodes it has, and bytes of its category sets once unpacked."""
    param = entry(single, "tree_param", form)
    count = number(param, "num_nodes", form, 1, 2**31 - 1)
    if number(param, "num_feature", form, 0, MOST) != features:
        damaged(form, f"{what} has another number of features")
    if number(param, "size_leaf_vector", form, 0, MOST) > 1:
        raise UnsupportedModel(
            "This XGBoost model has trees with several values in a leaf. Train it with multi_strategy='one_output_per_tree'."
        )
    left, right, parents, split = (
        whole(single.get(name), form, f"{what}, {name!r}", count)
        for name in ("left_children", "right_children", "parents", "split_indices")
    )
    reached, _ = tree(left, right, form, what, file)
    if len(reached) + number(param, "num_deleted", form, 0, count) != count:
        damaged(form, f"{what} has nodes that nothing leads to")
    inner = reached[left[reached] >= 0]
    within(split[inner], 0, features, form, f"{what}, split feature")
    within(split, 0, DELETED + 1, form, f"{what}, split feature")
    within(parents, -1, DELETED + 1, form, f"{what}, parent")
    for children in (left, right):
        if (parents[children[inner]] != inner).any():
            damaged(form, f"{what} names the wrong parents")
    values, _, weights, _ = (
        numbers(single.get(name), form, f"{what}, {name!r}", count)
        for name in ("split_conditions", "loss_changes", "sum_hessian", "base_weights")
    )
    finite(values[reached], form, f"{what}, 'split_conditions'", SINGLE)
    finite(weights[reached], form, f"{what}, 'sum_hessian'", SINGLE)
    default = single.get("default_left")
    within(whole(default, form, f"{what}, 'default_left'", count), 0, 2, form, f"{what}, 'default_left'")
    return count, _category_splits(single, count, inner, form, what)


def _category_splits(single: dict[str, Any], count: int, inner: np.ndarray, form: str, what: str) -> int:
    kinds = whole(single.get("split_type", [0] * count), form, f"{what}, 'split_type'", count)
    within(kinds, 0, 2, form, f"{what}, 'split_type'")
    nodes, segments, sizes, values = (
        whole(single.get(f"categories{end}", []), form, f"{what}, 'categories{end}'")
        for end in ("_nodes", "_segments", "_sizes", "")
    )
    if not len(nodes) == len(segments) == len(sizes):
        damaged(form, f"{what} has category lists of unequal lengths")
    within(nodes, 0, count, form, f"{what}, category node")
    within(values, 0, 2**24, form, f"{what}, category")
    if (segments != np.concatenate([[0], np.cumsum(sizes)])[:-1]).any() or sizes.sum() != len(values):
        damaged(form, f"{what} has category lists that do not follow each other")
    within(sizes, 1, len(values) + 1, form, f"{what}, category list")
    split_on = inner[kinds[inner] == 1]
    if (np.diff(nodes) <= 0).any() or not np.isin(split_on, nodes).all() or not (kinds[nodes] == 1).all():
        damaged(form, f"{what} has categories at the wrong nodes")
    return int((np.maximum.reduceat(values, segments) + 2).sum()) if len(nodes) else 0


def _categories(stored: Any, features: int, form: str) -> None:
    """The categories of the training data, which XGBoost keeps to recode later ones."""
    if stored is None:
        return
    what = "the stored categories"
    encodings = entry(stored, "enc", form, list)
    segments = whole(stored.get("feature_segments"), form, what)
    order = whole(stored.get("sorted_idx"), form, what)
    if not encodings and segments.size <= 1 and order.size == 0:
        return
    if (
        len(encodings) != features
        or len(segments) != features + 1
        or segments[0] != 0
        or (np.diff(segments) < 0).any()
    ):
        damaged(form, f"{what} do not belong to the {features} features")
    if segments[-1] != len(order):
        damaged(form, f"{what} have another order")
    for size, first, encoding in zip(np.diff(segments), segments, encodings, strict=False):
        values = whole(entry(encoding, "values", form, (list, np.ndarray)), form, what)
        within(order[first : first + size], 0, int(size), form, what)
        if "offsets" not in encoding:
            if len(values) != size:
                damaged(form, f"{what} have another number")
            _distinct(encoding, form, what)
            continue
        within(values, -128, 256, form, what)
        offsets = whole(encoding["offsets"], form, what)
        fits = (
            offsets.size == size + 1
            and offsets[0] == 0
            and (np.diff(offsets) >= 0).all()
            and offsets[-1] == len(values)
        )
        if not (fits or (size == 0 and offsets.size == 0 and len(values) == 0)):
            damaged(form, f"{what} have another length")
        if fits:
            _distinct(encoding, form, what)


def _distinct(encoding: Any, form: str, what: str) -> None:
    try:
        found = category_index(encoding)
    except UnicodeDecodeError:
        damaged(form, f"{what} are not UTF-8 text")
    if not found[["\0" not in str(name) for name in found]].is_unique:
        damaged(form, f"{what} name one twice")

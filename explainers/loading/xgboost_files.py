"""XGBoost's JSON and UBJ: the structure is checked whole before XGBoost, which trusts its files, sees a byte."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from explainers.errors import UnreadableFile, UnsupportedModel
from explainers.loading.recognition import refuse
from explainers.loading.sources import File
from explainers.loading.structure import damaged, entry, number, numbers, tree, whole, within
from explainers.model import Model

MOST_FEATURES = 10_000_000
MOST_OUTPUTS = 100_000
MOST_TREES = 10_000_000
DELETED = 2**31 - 1  # the split feature of a node that pruning has removed


def load(file: File, classes: tuple[Any, ...] | None, ubj: bool) -> Model:
    """A booster from JSON or UBJ bytes."""
    form = "XGBoost UBJ" if ubj else "XGBoost JSON"
    check(_parsed_ubj(file.content, form) if ubj else _parsed_json(file, form), form)
    try:
        import xgboost
    except ImportError as error:
        raise UnsupportedModel(
            'This is an XGBoost model; XGBoost is not installed. Install it: pip install "whyboard[xgboost]".'
        ) from error
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(file.content))
        return Model.wrap(booster, classes)
    except (xgboost.core.XGBoostError, ValueError, TypeError, KeyError) as error:
        text = str(error).splitlines()[0][:200]
        raise UnreadableFile(f"XGBoost cannot read this {form} file: {text}. Save it again.") from error


def _parsed_json(file: File, form: str) -> Any:
    try:
        parsed = json.loads(file.content, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(
            f"{file.name!r} looks like {form} but is damaged or cut short: {error}. Save it again."
        ) from error
    if not isinstance(parsed, dict) or "learner" not in parsed:
        raise refuse(file.name, _other_json(parsed))
    return parsed


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that occurs twice could mean one thing to this check and another to XGBoost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _other_json(parsed: Any) -> str:
    if isinstance(parsed, dict) and "tree_info" in parsed:
        return "LightGBM dump"
    if isinstance(parsed, list) or "layers" in parsed:
        return "architecture"
    return "JSON"


def _parsed_ubj(content: bytes, form: str) -> Any:
    from explainers.loading.ubjson import decode

    try:
        return decode(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(f"This {form} file is damaged or cut short: {error}. Save it again.") from error


def check(parsed: Any, form: str) -> None:
    """Raise `UnreadableFile` unless every index in the model points at something."""
    learner = entry(parsed, "learner", form)
    sizes = entry(learner, "learner_model_param", form)
    features = number(sizes, "num_feature", form, 0, MOST_FEATURES)
    outputs = max(1, number(sizes, "num_class", form, 0, MOST_OUTPUTS))
    outputs = max(outputs, number(sizes, "num_target", form, 0, MOST_OUTPUTS) if "num_target" in sizes else 1)
    entry(entry(learner, "objective", form), "name", form, str)
    for name in ("feature_names", "feature_types"):
        _texts(learner.get(name, []), features, form, name)
    booster = entry(learner, "gradient_booster", form)
    name = entry(booster, "name", form, str)
    if name == "gblinear":
        weights = entry(entry(booster, "model", form), "weights", form, (list, np.ndarray))
        numbers(weights, form, "the weights", (features + 1) * outputs)
        return
    if name == "dart":
        weights = entry(booster, "weight_drop", form, (list, np.ndarray))
        booster = entry(booster, "gbtree", form)
        trees = _trees(entry(booster, "model", form), features, outputs, form)
        numbers(weights, form, "the tree weights", trees)
        return
    if name != "gbtree":
        damaged(form, f"the booster {name!r} is unknown")
    _trees(entry(booster, "model", form), features, outputs, form)


def _texts(values: Any, features: int, form: str, what: str) -> None:
    if (
        not isinstance(values, list)
        or len(values) not in (0, features)
        or not all(isinstance(v, str) for v in values)
    ):
        damaged(form, f"{what!r} does not name the {features} features")


def _trees(model: dict[str, Any], features: int, outputs: int, form: str) -> int:
    trees = entry(model, "trees", form, list)
    count = number(entry(model, "gbtree_model_param", form), "num_trees", form, 0, MOST_TREES)
    if count != len(trees):
        damaged(form, f"{count} trees are announced and {len(trees)} are there")
    within(whole(model.get("tree_info"), form, "'tree_info'", count), 0, outputs, form, "'tree_info'")
    rounds = whole(model.get("iteration_indptr", [0, count]), form, "'iteration_indptr'")
    if len(rounds) == 0 or rounds[0] != 0 or rounds[-1] != count or (np.diff(rounds) < 0).any():
        damaged(form, "the rounds do not cover the trees")
    _categories(model.get("cats"), features, form)
    for position, single in enumerate(trees):
        _tree(single, features, form, f"tree {position}")
        if number(single, "id", form, 0, MOST_TREES) != position:
            damaged(form, f"tree {position} has another number")
    return count


def _tree(single: Any, features: int, form: str, what: str) -> None:
    param = entry(single, "tree_param", form)
    count = number(param, "num_nodes", form, 1, 2**31 - 1)
    if number(param, "num_feature", form, 0, MOST_FEATURES) != features:
        damaged(form, f"{what} has another number of features")
    if number(param, "size_leaf_vector", form, 0, MOST_OUTPUTS) > 1:
        raise UnsupportedModel(
            "This XGBoost model has trees with several values in a leaf. Train it with multi_strategy='one_output_per_tree'."
        )
    left, right, parents, split = (
        whole(single.get(name), form, f"{what}, {name!r}", count)
        for name in ("left_children", "right_children", "parents", "split_indices")
    )
    reached = tree(left, right, form, what)
    inner = reached[left[reached] >= 0]
    within(split[inner], 0, features, form, f"{what}, split feature")
    within(split, 0, DELETED + 1, form, f"{what}, split feature")
    within(parents, -1, DELETED + 1, form, f"{what}, parent")
    for children in (left, right):
        if (parents[children[inner]] != inner).any():
            damaged(form, f"{what} names the wrong parents")
    for name in ("split_conditions", "loss_changes", "sum_hessian", "base_weights"):
        numbers(single.get(name), form, f"{what}, {name!r}", count)
    default = single.get("default_left")
    within(whole(default, form, f"{what}, 'default_left'", count), 0, 2, form, f"{what}, 'default_left'")
    _category_splits(single, count, inner, form, what)


def _category_splits(single: dict[str, Any], count: int, inner: np.ndarray, form: str, what: str) -> None:
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
    within(segments, 0, len(values) + 1, form, f"{what}, category list")
    within(sizes, 1, len(values) + 1, form, f"{what}, category list")
    within(segments + sizes, 0, len(values) + 1, form, f"{what}, category list")
    split_on = inner[kinds[inner] == 1]
    if (np.diff(nodes) <= 0).any() or not np.isin(split_on, nodes).all() or not (kinds[nodes] == 1).all():
        damaged(form, f"{what} has categories at the wrong nodes")


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
        values = numbers(entry(encoding, "values", form, (list, np.ndarray)), form, what)
        within(order[first : first + size], 0, int(size), form, what)
        if "offsets" not in encoding:
            if len(values) != size:
                damaged(form, f"{what} have another number")
            continue
        offsets = whole(encoding["offsets"], form, what)
        fits = (
            offsets.size == size + 1
            and offsets[0] == 0
            and (np.diff(offsets) >= 0).all()
            and offsets[-1] == len(values)
        )
        if not (fits or (size == 0 and offsets.size == 0 and len(values) == 0)):
            damaged(form, f"{what} have another length")

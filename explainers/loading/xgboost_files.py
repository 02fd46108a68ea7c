"""XGBoost's JSON and UBJ: the structure is checked whole, then the trees are read; XGBoost itself sees no byte."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from explainers.errors import UnreadableFile, UnsupportedModel
from explainers.loading import tree_files
from explainers.loading.recognition import refuse
from explainers.loading.sources import File
from explainers.loading.structure import json_depth
from explainers.loading.xgboost_structure import check
from explainers.model import Model
from explainers.trees.converting import xgboost_trees
from explainers.trees.ensemble import TreeEnsemble
from explainers.wrapping.gradient_boosting_libraries import LABELS_ONLY

ARRAYS = 10  # of one number for each node


def load(file: File, classes: tuple[Any, ...] | None, ubj: bool) -> Model:
    """A booster from JSON or UBJ bytes."""
    form = "XGBoost UBJ" if ubj else "XGBoost JSON"
    parsed = _parsed_ubj(file, form) if ubj else _parsed_json(file, form)
    check(parsed, form, file)
    return of_parsed(parsed, classes)


def of_parsed(parsed: Any, classes: tuple[Any, ...] | None) -> Model:
    """The model in a parsed and checked file; raises `UnsupportedModel` where it answers labels only."""
    learner = parsed["learner"]
    objective = learner["objective"]["name"]
    if objective in LABELS_ONLY:
        raise UnsupportedModel(
            f"This XGBoost model predicts labels only ({objective}). Train it with {LABELS_ONLY[objective]}."
        )
    linear = learner["gradient_booster"]["name"] == "gblinear"
    columns = xgboost_trees.columns(parsed)
    base, link = xgboost_trees.start(learner)
    trees = (
        TreeEnsemble.of([], base, columns.count, single=True, link=link)
        if linear
        else xgboost_trees.of_parsed(parsed)
    )
    return tree_files.model(
        f"XGBoost{' linear' if linear else ''} ({objective})",
        columns,
        _line(learner["gradient_booster"]["model"]["weights"], base) if linear else trees.raw,
        trees.linked,
        None if linear else trees,
        classes,
        outputs=len(base),
        classifies=objective.startswith(("binary:", "multi:")),
    )


def _line(stored: Any, base: np.ndarray) -> tree_files.Answer:
    """Weights times values, the last weights being constants; a missing value adds nothing.

    The library starts every output from the first base score, in training as well.
    """
    weights = np.asarray(stored, dtype=np.float64).reshape(-1, len(base))
    return lambda X: (
        np.nan_to_num(X.astype(np.float32).astype(np.float64)) @ weights[:-1] + weights[-1] + base[0]
    )


def _parsed_json(file: File, form: str) -> Any:
    file.limits.hold(file.name, "json_depth", json_depth(file.content))
    file.limits.hold(file.name, "nodes", file.content.count(b",") // ARRAYS)
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


def _parsed_ubj(file: File, form: str) -> Any:
    from explainers.loading.ubjson import decode

    try:
        return decode(file.content, file.name, file.limits)
    except ValueError as error:
        raise UnreadableFile(f"This {form} file is damaged or cut short: {error}. Save it again.") from error

"""XGBoost's JSON and UBJ: the structure is checked whole before XGBoost, which trusts its files, sees a byte."""

from __future__ import annotations

import json
import re
from typing import Any

from explainers.errors import UnreadableFile, UnsupportedModel
from explainers.loading.recognition import refuse
from explainers.loading.sources import File
from explainers.loading.structure import json_depth
from explainers.loading.xgboost_structure import check
from explainers.model import Model

ARRAYS = 10  # of one number for each node
PLACE = re.compile(r"^\[[\d:]+\] \S+: ")  # where in XGBoost's own source


def load(file: File, classes: tuple[Any, ...] | None, ubj: bool) -> Model:
    """A booster from JSON or UBJ bytes."""
    form = "XGBoost UBJ" if ubj else "XGBoost JSON"
    check(_parsed_ubj(file, form) if ubj else _parsed_json(file, form), form, file)
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
        text = PLACE.sub("", str(error).splitlines()[0])[:200]
        raise UnreadableFile(f"XGBoost cannot read this {form} file: {text}. Save it again.") from error


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

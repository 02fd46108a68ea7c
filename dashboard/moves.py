"""What else moves when a person moves one feature: declared relations, and features that go together in the data."""

from __future__ import annotations

import numpy as np

import explainers as ex
from dashboard.view import View

#: Rank correlation from which features are taken to move together.
TOGETHER = 0.9


def changes(view: View, name: str, code: float) -> list[tuple[str, float]]:
    """The edits that follow from setting one feature: itself first, then what is linked to it."""
    edits = {name: code}
    if view.selection.linked and not view.schema.feature(name).categorical:
        edits |= _companions(view, name, code)
    for rule in view.schema.relations:
        if rule.kind == "at_most":
            _keep_order(view, rule, edits, name)
    return list(edits.items())


def companions(view: View, name: str) -> list[str]:
    """Features that move with this one: declared, or strongly correlated numbers."""
    declared = {
        r.other if r.feature == name else r.feature
        for r in view.schema.relations
        if r.kind == "moves_with" and name in (r.feature, r.other)
    }
    groups = view.related(TOGETHER)
    group = next((g for g in groups if name in g), ())
    numbers = {other for other in group if not view.schema.feature(other).categorical}
    return [other for other in view.schema.names if other in (declared | numbers) and other != name]


def _companions(view: View, name: str, code: float) -> dict[str, float]:
    """Each companion moves by its slope on the moved feature, within what the data hold."""
    moved = view.schema.position(name)
    step = code - view.case.matrix[0, moved]
    if np.isnan(step):
        return {}  # from missing to a value is no step that others could follow
    bounds = view.plausibility
    found = {}
    for other in companions(view, name):
        j = view.schema.position(other)
        value = view.case.matrix[0, j] + step * _slope(view.data.matrix, moved, j)
        if np.isnan(value):
            continue  # what is missing stays missing
        value = float(np.clip(value, bounds.low[j], bounds.high[j]))
        found[other] = round(value, int(bounds.decimals[j]))
    return found


def _slope(matrix: np.ndarray, moved: int, other: int) -> float:
    """The least-squares slope of one feature on another, over rows that have both."""
    both = matrix[:, [moved, other]]
    both = both[~np.isnan(both).any(axis=1)]
    x = both[:, 0] - both[:, 0].mean()
    return float(x @ (both[:, 1] - both[:, 1].mean()) / max(float(x @ x), 1e-12))


def _keep_order(view: View, rule: ex.Relation, edits: dict[str, float], moved: str) -> None:
    """``feature <= other``: the one that was not moved gives way, never the one moved by hand."""
    codes = dict(zip(view.schema.names, view.case.matrix[0], strict=True)) | edits
    if not codes[rule.feature] > codes[rule.other]:
        return
    if rule.feature in edits and rule.other != moved:
        edits[rule.other] = codes[rule.feature]
    else:
        edits[rule.feature] = codes[rule.other]

"""Which features matter? What the model uses, and what its accuracy needs: two questions, two axes."""

from __future__ import annotations

from typing import Any

import numpy as np

import explainers as ex
from dashboard import policy, words
from dashboard.export import takeaway
from dashboard.figures.importance import importances, in_scale
from dashboard.panels.panel import Block, Event, waiting
from dashboard.selection import Selection
from dashboard.view import Stopped, View

USES = "What the model uses (SHAP)"
NEEDS = "What accuracy needs (permutation)"

FIRST = "SHAP values, first cases"

#: Rank correlation from which features are shown as one group.
RELATED = 0.8


class GlobalImportance:
    """Importance by SHAP and by permutation side by side; a click shows the feature's effect."""

    name = "importance"
    title = "Which features matter?"
    area = "main"

    def blocks(self, view: View) -> list[Block]:
        groups = view.related(RELATED)
        shap = global_attribution(view)
        needs = _needs(view, groups)
        if shap is None:
            return waiting("importance", self.area, self.title, view.cost(FIRST), 300)
        uses = in_scale(ex.mean_absolute(shap, groups), shap.space, view.unit_of(shap.space))
        figure = importances(uses, needs, view.schema, selected=view.selection.feature)
        said = words.importance_sentence(uses, view.schema, needs)
        scale = words.scale_sentence(shap, view.model, view.selection.space)
        items = [{"style": "sentence", "text": said}] + [{"style": "caption", "text": scale}] * bool(scale)
        chart = {
            "id": "importance.chart",
            "kind": "chart",
            "area": self.area,
            "figure": figure,
            "height": int(figure.layout.height),
            "click": True,
            "alt": said,
        }
        return [
            {
                "id": "importance.text",
                "kind": "text",
                "area": self.area,
                "title": self.title,
                "items": items,
            },
            chart | takeaway(shap, uses.to_frame(), browsed_rows(view, len(shap.values))),
        ]

    def apply(self, event: Event, view: View) -> Selection:
        name = event.get("point")
        return view.selection.change(feature=name) if name in view.schema.names else view.selection


def global_attribution(view: View) -> ex.Attribution | None:
    """Shapley values of many cases: a few at first, then enough; the best that is known now."""
    explainer = policy.global_attribution(view.model, view.data, view.refused, view.selection.space)
    target = view.target if view.classifies else None
    best: ex.Attribution | None = None
    while True:
        rows = browse_sample(view, policy.global_cases(explainer, best))
        if best is not None and len(rows) <= len(best.values):
            return best
        if best is None:
            best = view.best(FIRST, explainer, rows, target)
            if best is None or "so_far" in best.diagnostics:
                return best
            continue
        found = _of_more(view, explainer, rows, target, len(best.values))
        if found is None:
            return best
        best = found


def _of_more(view: View, explainer: ex.Explainer, rows: tuple[int, ...], target: Any, known: int) -> ex.Attribution | None:  # fmt: skip
    """The values of more cases, once all are known; where they were stopped, the fewer stay, and that is said."""
    title = f"SHAP values of {len(rows):,} cases"
    try:
        found: ex.Attribution | None = view.later(title, explainer, rows, target)
    except Stopped:
        view.stopped[title] = f"Stopped at {known:,} of {len(rows):,} cases. Choose “compute again” to go on."
        return None
    return found


def browse_sample(view: View, size: int) -> tuple[int, ...]:
    """A seeded sample of the rows people browse, as positions in the data."""
    rows = view.workspace.rows
    if len(rows) > size:
        rows = np.sort(np.random.default_rng(0).choice(rows, size, replace=False))
    return tuple(rows.tolist())


def browsed_rows(view: View, size: int) -> str:
    """The same sample as Python: numbers of thousands of rows are no line to copy."""
    rows = f"np.arange({len(view.data)})" if view.workspace.rows_are_all else 'data.rows("test")'
    if len(view.workspace.rows) > size:
        return f"np.sort(np.random.default_rng(0).choice({rows}, {size}, replace=False))"
    return rows


def _needs(view: View, groups: tuple[tuple[str, ...], ...]) -> ex.Importance | None:
    """Permutation importance, where there is a truth; ``None`` while it is computed too."""
    if view.refused(ex.PermutationImportance) is not None:
        return None
    try:
        found: ex.Importance | None = view.best(NEEDS, ex.PermutationImportance(groups=groups))
    except Stopped as stopped:  # the other half of the picture stays
        view.stopped[NEEDS] = str(stopped)
        return None
    return found

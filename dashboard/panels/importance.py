"""Which features matter? What the model uses, and what its accuracy needs: two questions, two axes."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import numpy as np

import explainers as ex
from dashboard import policy, words
from dashboard.asking import Stopped
from dashboard.costs import Partial
from dashboard.early import FEWEST, case_by_case, looked_at, of_few
from dashboard.export import takeaway
from dashboard.figures.importance import importances, in_scale
from dashboard.panels.panel import Block, Event, waiting
from dashboard.selection import Selection
from dashboard.view import View

USES = "What the model uses (SHAP)"
NEEDS = "What accuracy needs (permutation)"

FIRST, LOOK = "SHAP values, first cases", "What accuracy needs, first look"

Groups = tuple[tuple[str, ...], ...]

#: Pixels of the sentences of a slow model, kept so that nothing jumps when they change.
LINES = 92

#: Rank correlation from which features are shown as one group.
RELATED = 0.8


class GlobalImportance:
    """Importance by SHAP and by permutation side by side; a click shows the feature's effect."""

    name = "importance"
    title = "Which features matter?"
    area = "main"

    def blocks(self, view: View) -> list[Block]:
        groups = view.related(RELATED)
        shap, halted = unless_stopped(view)
        needs = _needs(view, groups)
        if shap is None and (needs is None or not (halted or takes_long(view))):
            if halted is not None:
                raise halted
            return waiting("importance", self.area, self.title, _cost(view), 300, early=takes_long(view))
        uses = _unknown(view) if shap is None else _used(view, shap, groups)
        figure = importances(uses, needs, view.schema, selected=view.selection.feature)
        if shap is None:
            assert needs is not None
            view.stopped |= {} if halted is None else {_many(view): str(halted)}
            said, told = words.needs_sentence(needs, view.schema), takeaway(needs)
            captions = [] if halted else [_waited_for(view)]
        else:
            said = words.importance_sentence(uses, view.schema, needs)
            told = takeaway(shap, uses.to_frame(), rows_in_python(view, shap))
            captions = [words.scale_sentence(shap, view.model, view.selection.space), _growing(needs)]
        items = [{"style": "sentence", "text": said}]
        items += [{"style": "caption", "text": caption} for caption in captions if caption]
        text: Block = {"id": "importance.text", "kind": "text", "area": self.area, "title": self.title}
        chart = {
            "id": "importance.chart",
            "kind": "chart",
            "area": self.area,
            "figure": figure,
            "height": int(figure.layout.height),
            "click": True,
            "alt": said,
        }
        fixed = {"height": LINES} if takes_long(view) else {}
        return [text | {"items": items} | fixed, chart | told]

    def apply(self, event: Event, view: View) -> Selection:
        name = event.get("point")
        return view.selection.change(feature=name) if name in view.schema.names else view.selection


def unless_stopped(view: View) -> tuple[ex.Attribution | None, Stopped | None]:
    """The Shapley values of many cases, and what was said where they were stopped before there were any."""
    try:
        return global_attribution(view), None
    except Stopped as stopped:
        return None, stopped


def _used(view: View, shap: ex.Attribution, groups: Groups) -> ex.Importance:
    """Mean |SHAP|; where few cases are known yet, the error counts for that too."""
    uses = in_scale(ex.mean_absolute(shap, groups), shap.space, view.unit_of(shap.space))
    if "so_far" not in shap.diagnostics or uses.standard_error is None:
        return uses
    return dataclasses.replace(uses, standard_error=uses.standard_error * of_few(len(shap.values)))


def _unknown(view: View) -> ex.Importance:
    """An empty left side, in its place while the right one is known."""
    values = np.full(len(view.schema.names), np.nan)
    return ex.Importance(names=view.schema.names, values=values, metric="not known yet")


def _cost(view: View) -> str:
    """What the slowest half costs that is waited for."""
    return view.cost(FIRST) or view.cost(_many(view)) or view.cost(NEEDS)


def _waited_for(view: View) -> str:
    cost = view.cost(FIRST) or view.cost(_many(view))
    return f"What the model uses takes {cost}." if cost else ""


def _growing(needs: ex.Importance | None) -> str:
    """That the right half is not finished; of the left one the footer says it."""
    known = {} if needs is None else needs.diagnostics
    if "so_far" not in known or known.get("stopped"):
        return ""
    return f"What accuracy needs: first answer from {known['so_far']}; still computing."


def _global_request(view: View) -> tuple[ex.Explainer, tuple[int, ...], Any]:
    explainer = policy.global_attribution(view.model, view.data, view.refused, view.selection.space)
    rows = browse_sample(view, policy.MOST_CASES)
    return explainer, rows, view.target if view.classifies else None


def takes_long(view: View) -> bool:
    """Whether the Shapley values of many cases take so long that they come in parts."""
    explainer, rows, target = _global_request(view)
    if not isinstance(explainer, ex.KernelShap) or len(rows) <= FEWEST:
        return False
    if view.partial(explainer, rows, target):  # a pace that is known better by now changes no plan
        return True
    seconds = view.seconds(explainer, rows)
    return seconds is not None and seconds > policy.IN_PARTS


def global_attribution(view: View) -> ex.Attribution | None:
    """Shapley values of many cases: a few at first, then enough; the best that is known now."""
    explainer, rows, target = _global_request(view)
    if takes_long(view):
        found: ex.Attribution | None = view.best(
            _many(view), explainer, rows, target, case_by_case(explainer, rows)
        )
        return found
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


def _many(view: View) -> str:
    return f"SHAP values of {len(browse_sample(view, policy.MOST_CASES)):,} cases"


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


def attributed_rows(view: View, shap: ex.Attribution) -> np.ndarray:
    """The rows of the data that a global attribution explains: of a partial one, those that are known yet."""
    known = shap.provenance.get("rows") if "cases_known" in shap.diagnostics else None
    return np.array(browse_sample(view, len(shap.values)) if known is None else known)


def rows_in_python(view: View, shap: ex.Attribution) -> str | None:
    """The same as Python; ``None`` where only their numbers say it."""
    return None if "cases_known" in shap.diagnostics else browsed_rows(view, len(shap.values))


def _needs(view: View, groups: Groups) -> ex.Importance | None:
    """Permutation importance, where there is a truth; ``None`` while it is computed too."""
    if view.refused(ex.PermutationImportance) is not None:
        return None
    explainer = ex.PermutationImportance(groups=groups)
    try:
        if view.known(explainer) is None:
            _look_first(view, explainer)
        found: ex.Importance | None = view.best(NEEDS, explainer)
    except Stopped as stopped:  # the other half of the picture stays
        view.stopped[NEEDS] = str(stopped)
        return None
    return found


def _look_first(view: View, explainer: ex.PermutationImportance) -> None:
    """Have one repeat over a few rows come before all of a slow model, as its first coarser result."""
    seconds, rows = view.seconds(explainer), view.data.rows("test")
    rows = rows if len(rows) else np.arange(len(view.data))
    if seconds is None or seconds < 2 * policy.FIRST_LOOK * explainer.repeats or view.partial(explainer):
        return
    pace = seconds / explainer.repeats / len(rows)
    few = looked_at(rows, view.truth if view.classifies else None, int(policy.FIRST_LOOK / pace))
    if not few:
        return
    with contextlib.suppress(ex.ExplainerError):  # so few rows may not do
        found = view.later(LOOK, dataclasses.replace(explainer, repeats=1), few)
        if found is not None:
            facts = {**found.diagnostics, "cases_known": (len(few), len(rows))}
            view.note(Partial(dataclasses.replace(found, diagnostics=facts), 0, 1), explainer)

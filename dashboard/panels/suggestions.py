"""What would change it? The nearest cases that the model decides otherwise, one click away from the sliders."""

from __future__ import annotations

from typing import Any

import numpy as np

import explainers as ex
from dashboard import words
from dashboard.export import takeaway
from dashboard.figures.counterfactual import suggestion_table
from dashboard.figures.text import plain_text
from dashboard.panels.panel import Block, Event
from dashboard.panels.what_if import answer
from dashboard.selection import Selection
from dashboard.view import View


class Suggestions:
    """Counterfactuals of the case, asked for with a button since they take a moment."""

    name = "suggestions"
    title = "What would it need to see?"
    area = "whatif"

    def blocks(self, view: View) -> list[Block]:
        goal = "turn the decision" if view.classifies else "raise the estimate by one standard deviation"
        label = "search again" if view.selection.suggestions else f"find the smallest changes that {goal}"
        button = {"id": "search", "kind": "button", "label": label, "emphasis": "primary"}
        blocks: list[Block] = [
            {
                "id": "suggestions.ask",
                "kind": "controls",
                "area": self.area,
                "title": self.title,
                "controls": [button],
                "row": True,
            }
        ]
        if not view.selection.suggestions:
            return blocks
        found = view.later(self.title, explainer(view), [view.selection.row], view.target)
        if found is None:
            return [
                *blocks,
                {
                    "id": "suggestions.table",
                    "kind": "table",
                    "area": self.area,
                    "loading": True,
                    "height": 160,
                },
            ]
        items = _said(view, found)
        if view.edited:  # what was loaded shows its effect here too, where the button was pressed
            items += answer(view)
        blocks.append({"id": "suggestions.text", "kind": "text", "area": self.area, "items": items})
        if int(found.found[0]):
            table: dict[str, Any] = suggestion_table(found, view.schema)
            blocks.append(
                {"id": "suggestions.table", "kind": "table", "area": self.area, **table, **takeaway(found)}
            )
        return blocks

    def apply(self, event: Event, view: View) -> Selection:
        if event["type"] == "control":
            return view.selection.change(suggestions=True, cancelled=view.selection.cancelled - {self.title})
        found = view.now(explainer(view), [view.selection.row], view.target)
        rank = int(str(event.get("column") or event.get("row")).removeprefix("suggestion"))
        return load(view, found, rank)


def explainer(view: View) -> ex.Explainer:
    """The search with the threshold that the page decides with."""
    if not view.classifies:
        return ex.Counterfactual()
    first_of_two = len(view.model.classes) == 2 and view.output == 0
    threshold = view.selection.threshold
    return ex.Counterfactual(threshold=round(1.0 - threshold, 6) if first_of_two else threshold)


def load(view: View, found: ex.Counterfactuals, rank: int) -> Selection:
    """Put a suggestion on the sliders."""
    then, now = found.changed[0, rank], found.original[0]
    moved = np.flatnonzero(~((then == now) | (np.isnan(then) & np.isnan(now))))
    edits = tuple((view.schema.names[j], float(then[j])) for j in moved)
    return view.selection.change(edits=edits)


def _said(view: View, found: ex.Counterfactuals) -> list[dict[str, str]]:
    caution = {
        "style": "caption",
        "text": "What the model would need to see, not advice. Locked features are never changed.",
    }
    if not int(found.found[0]):
        text = f"No change of one or two actionable features within the data reaches {plain_text(found.wanted, 60)} for this {plain_text(view.workspace.about.subject, 40)}."
        return [{"style": "sentence", "text": text}, caution]
    return [{"style": "sentence", "text": words.counterfactual_sentence(found, view.schema)}, caution]

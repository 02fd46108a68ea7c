"""What if? A slider or a choice for every feature, with the case's own curve beneath it."""

from __future__ import annotations

import numpy as np

from dashboard.figures.numbers import Scale
from dashboard.figures.text import plain_text, value_text
from dashboard.moves import changes, companions
from dashboard.panels.panel import Block, Event
from dashboard.panels.sliders import control_of
from dashboard.selection import Selection
from dashboard.view import View


class WhatIf:
    """Edit the case; prediction, bars and curves follow."""

    name = "whatif"
    title = "What if?"
    area = "whatif"

    def blocks(self, view: View) -> list[Block]:
        return [
            {
                "id": "whatif.answer",
                "kind": "text",
                "area": self.area,
                "title": self.title,
                "items": answer(view),
                "live": True,
                "height": 96,
            },
            {
                "id": "whatif.tools",
                "kind": "controls",
                "area": self.area,
                "row": True,
                "controls": _tools(view),
            },
            {
                "id": "whatif.features",
                "kind": "controls",
                "area": self.area,
                "controls": [control_of(view, name) for name in view.sliders],
                "search": len(view.schema.features) > 8,
                "height": min(640, 92 * len(view.sliders)),
                "footer": "Curves: this case with one feature moved, the others held fixed. Grey track: outside the data.",
            },
        ]

    def apply(self, event: Event, view: View) -> Selection:
        selection, name = view.selection, str(event["id"])
        if event["block"] == "whatif.tools":
            return (
                selection.change(linked=bool(event["value"]))
                if name == "linked"
                else selection.change(edits=())
            )
        feature = view.schema.feature(name)
        code = float(event["value"])
        if feature.kind == "integer":
            code = float(round(code))
        return _without_restored(view, selection.edit(*changes(view, name, code)))


def answer(view: View) -> list[dict[str, str]]:
    """The prediction after the edits, and what is to be said against it."""
    scale = Scale(view.model.space, view.workspace.target_unit)
    before = float(view.scores[view.selection.row])
    if not view.edited:
        return [
            {
                "style": "sentence",
                "text": "Move a slider to see what the model would say. Other features are held fixed.",
            }
        ]
    codes = view.case.matrix[0]
    beyond = view.plausibility.outside(codes)
    moved = (
        f"→ {scale.level(view.score)}  ({scale.change(view.score - before)}{_points(scale)}){decided(view)}"
    )
    items = [
        {"style": "lead", "text": moved, "tone": "muted"} if beyond else {"style": "lead", "text": moved}
    ]
    if beyond:
        items.append(
            {
                "style": "warning",
                "text": f"Outside the data: {_ranges(view, beyond)}. Do not rely on this estimate.",
            }
        )
    elif view.plausibility.unlike(codes):
        items.append(
            {
                "style": "warning",
                "text": f"No {plain_text(view.workspace.about.subject, 40)} in the data is like this combination; the estimate is a guess.",
            }
        )
    else:
        items.append(
            {"style": "caption", "text": f"Was {scale.level(before)}. Features not moved are held fixed."}
        )
    return items


def decided(view: View) -> str:
    """What is decided after the edits, and what was before; empty for a regression."""
    if not view.decision:
        return ""
    was = (
        ""
        if view.decision == view.decision_as_recorded
        else f", was “{plain_text(view.decision_as_recorded)}”"
    )
    return f" · decides “{plain_text(view.decision)}”{was}"


def _points(scale: Scale) -> str:
    return " points" if scale.space == "probability" else ""


def _ranges(view: View, names: list[str]) -> str:
    said = []
    for name in names[:3]:
        feature, j = view.schema.feature(name), view.schema.position(name)
        low, high = (
            value_text(feature, bound[j]) for bound in (view.plausibility.low, view.plausibility.high)
        )
        said.append(
            f"{plain_text(feature.title)} {value_text(feature, view.case.matrix[0, j])} (seen: {low} to {high})"
        )
    return "; ".join(said)


def _tools(view: View) -> list[Block]:
    tools: list[Block] = [{"id": "reset", "kind": "button", "label": "reset", "locked": not view.edited}]
    if any(companions(view, name) for name in view.sliders):
        tools.append(
            {
                "id": "linked",
                "kind": "toggle",
                "label": "move related features together",
                "value": view.selection.linked,
            }
        )
    return tools


def _without_restored(view: View, selection: Selection) -> Selection:
    """Forget edits that put a feature back where it was."""
    original = dict(zip(view.schema.names, view.original.matrix[0], strict=True))
    kept = tuple(
        (name, code)
        for name, code in selection.edits
        if not (code == original[name] or (np.isnan(code) and np.isnan(original[name])))
    )
    return selection.change(edits=kept)

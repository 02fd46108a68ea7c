"""The strip: which case, what the model says, what it is compared with. The same on every page."""

from __future__ import annotations

import numpy as np

from dashboard.figures.numbers import Scale
from dashboard.figures.text import plain_text
from dashboard.panels.case_list import listed, outcome_text
from dashboard.panels.panel import Block, Event
from dashboard.selection import Selection
from dashboard.view import View


class Strip:
    """One line that stays, with the way to the next case."""

    name = "strip"
    title = "Selected case"
    area = "strip"

    def blocks(self, view: View) -> list[Block]:
        return [
            {
                "id": "strip.case",
                "kind": "text",
                "area": self.area,
                "live": True,
                "items": [{"style": "lead", "text": case_line(view)}],
            },
            {
                "id": "strip.move",
                "kind": "controls",
                "area": "move",
                "row": True,
                "controls": _controls(view),
            },
        ]

    def apply(self, event: Event, view: View) -> Selection:
        action = event["id"]
        if action == "outcome":
            return view.selection.change(outcome=bool(event["value"]))
        rows = listed(view)
        if action == "wrong":
            return _random_wrong(view)
        if len(rows) == 0:
            return view.selection
        here = np.flatnonzero(rows == view.selection.row)
        step = 1 if action == "next" else -1
        place = (int(here[0]) + step) % len(rows) if len(here) else 0
        return view.selection.pick(int(rows[place]))


def case_line(view: View) -> str:
    """``Case 17 · dies: model says 41 %, decides “survives” · usual 12 % for 100 training patients``."""
    scale = Scale(view.model.space, view.workspace.target_unit)
    name = plain_text(view.class_name)
    which = f"What if case {view.selection.row} were edited" if view.edited else f"Case {view.selection.row}"
    line = f"{which} · {name}: model says {scale.level(view.score)}"
    if view.edited:
        line += f" instead of {scale.level(float(view.scores[view.selection.row]))}"
    if view.decision:
        line += f", decides “{plain_text(view.decision)}”"
    line += f" · usual {scale.level(view.usual)} for {plain_text(view.reference_text, 80)}"
    if view.selection.outcome:
        line += f" · true outcome: {outcome_text(view, view.selection.row) or 'not in the data'}"
    return line


def _controls(view: View) -> list[Block]:
    controls: list[Block] = [
        {"id": "previous", "kind": "button", "label": "◀"},
        {"id": "next", "kind": "button", "label": "▶"},
    ]
    if view.wrong is not None:
        controls.append({"id": "wrong", "kind": "button", "label": "random wrong"})
    if view.truth is not None:
        controls.append(
            {"id": "outcome", "kind": "toggle", "label": "true outcome", "value": view.selection.outcome}
        )
    return controls


def _random_wrong(view: View) -> Selection:
    """Another wrongly decided case; seeded by the one shown, so that a run can be repeated."""
    assert view.wrong is not None
    rows = view.workspace.rows[view.wrong[view.workspace.rows]]
    rows = rows[rows != view.selection.row]
    if len(rows) == 0:
        return view.selection
    return view.selection.pick(int(np.random.default_rng(view.selection.row).choice(rows))).change(
        outcome=True
    )

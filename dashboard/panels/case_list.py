"""Which case? The picker: sorted by score, filtered by decision and outcome."""

from __future__ import annotations

import dataclasses

import numpy as np

from dashboard.figures.images import as_seen, layer_png
from dashboard.figures.numbers import Scale, counted
from dashboard.figures.text import plain_text
from dashboard.panels.panel import Block, Event
from dashboard.selection import Filter, Selection
from dashboard.view import View

#: Entries sent to the browser; the filters find the others.
LISTED = 200

#: With pictures fewer, since each brings its own small picture; and how large that is.
PICTURED, THUMB = 60, 32

_SORTS = {
    "high": "highest first",
    "low": "lowest first",
    "near": "nearest to the decision",
    "file": "as in the file",
}


class CaseList:
    """The list of cases; choosing one changes the whole page."""

    name = "cases"
    title = "Cases"
    area = "cases"

    def blocks(self, view: View) -> list[Block]:
        found, most = listed(view), LISTED if view.data.modality == "table" else PICTURED
        shown = found[:most]
        more = "" if len(found) <= most else f"; the first {most} are listed"
        return [
            {
                "id": "cases.filter",
                "kind": "controls",
                "area": self.area,
                "title": self.title,
                "controls": _controls(view),
            },
            {
                "id": "cases.list",
                "kind": "list",
                "area": self.area,
                "height": 560,
                "selected": str(view.selection.row),
                "items": [_item(view, int(row)) for row in shown],
                "footer": f"{counted(len(found), 'case')} of {len(view.workspace.rows):,}{more}",
            },
        ]

    def apply(self, event: Event, view: View) -> Selection:
        selection = view.selection
        if event["block"] == "cases.list":
            return selection.pick(int(event["id"]))
        field, value = str(event["id"]), event["value"]
        if field == "search":
            return _jump(view, value)
        return selection.change(filter=dataclasses.replace(selection.filter, **{field: value}))


def listed(view: View) -> np.ndarray:
    """Positions of the cases that pass the filter, in its order."""
    wanted: Filter = view.selection.filter
    rows = view.workspace.rows
    if wanted.show != "all" and view.wrong is not None:
        rows = rows[view.wrong[rows] == (wanted.show == "wrong")]
    if wanted.label and view.truth is not None:
        rows = rows[view.truth[rows] == _position(view, wanted.label)]
    scores = view.scores[rows]
    if wanted.sort == "file":
        return rows
    if wanted.sort == "near":
        middle = view.selection.threshold if view.classifies else float(np.median(view.scores))
        return rows[np.argsort(np.abs(scores - middle), kind="stable")]
    return rows[np.argsort(-scores if wanted.sort == "high" else scores, kind="stable")]


def _position(view: View, label: str) -> int:
    """The class of that name; -2, which no truth is, where another model of the workspace lacks it."""
    return next((place for place, name in enumerate(view.model.classes) if str(name) == label), -2)


def _controls(view: View) -> list[Block]:
    wanted = view.selection.filter
    controls: list[Block] = [
        {"id": "sort", "kind": "select", "label": "Order", "value": wanted.sort, "options": _options(_SORTS)},
    ]
    if view.wrong is not None:
        decisions = {"all": "all", "right": "right", "wrong": "wrong"}
        controls.append(
            {
                "id": "show",
                "kind": "segmented",
                "label": "Decision",
                "value": wanted.show,
                "options": _options(decisions),
            }
        )
        outcomes = {"": "any"} | {str(name): plain_text(name) for name in view.model.classes}
        controls.append(
            {
                "id": "label",
                "kind": "select",
                "label": "True outcome",
                "value": wanted.label,
                "options": _options(outcomes),
            }
        )
    controls.append(
        {
            "id": "search",
            "kind": "number",
            "label": "Go to case number",
            "value": view.selection.row,
            "min": 0,
            "max": len(view.data) - 1,
            "step": 1,
        }
    )
    return controls


def _options(choices: dict[str, str]) -> list[dict[str, str]]:
    return [{"value": value, "label": label} for value, label in choices.items()]


def _item(view: View, row: int) -> dict[str, object]:
    scale = Scale(view.model.space, view.workspace.target_unit)
    item: dict[str, object] = {
        "id": str(row),
        "title": f"#{row}",
        "value": scale.level(float(view.scores[row])),
    }
    if view.data.modality == "image":
        item["picture"] = view.compute.kept(("thumb", view.data.digest, row), lambda: thumb(view.data.X[row]))
    if view.model.space == "probability":
        item["share"] = round(float(view.scores[row]), 4)
    if view.selection.filter.show == "wrong" or view.selection.outcome:
        item["caption"] = outcome_text(view, row)
    return item


def outcome_text(view: View, row: int) -> str:
    """The true outcome of a case in words; empty where it is unknown."""
    if view.truth is None:
        return ""
    if not view.classifies:
        return Scale(view.model.space, view.workspace.target_unit).level(float(view.truth[row]))
    return plain_text(view.model.classes[view.truth[row]]) if view.truth[row] >= 0 else "unknown"


def thumb(image: np.ndarray) -> str:
    """A small copy of a picture ``(c, h, w)`` as a PNG, by taking every so many pixels."""
    every = max(1, max(image.shape[1:]) // THUMB)
    small = image[:, ::every, ::every]
    return layer_png(as_seen(small, (float(small.min()), float(small.max()))))


def _jump(view: View, value: object) -> Selection:
    row = round(float(value)) if isinstance(value, (int, float)) else view.selection.row
    return view.selection.pick(min(max(row, 0), len(view.data) - 1))

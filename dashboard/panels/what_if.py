"""What if? A slider or a choice for every feature, with the case's own curve beneath it."""

from __future__ import annotations

from typing import Any

import numpy as np

import explainers as ex
from dashboard.figures.numbers import Scale
from dashboard.figures.text import plain_text, value_text
from dashboard.linked.payload import typed_array
from dashboard.moves import changes, companions
from dashboard.panels.panel import Block, Event
from dashboard.selection import Selection
from dashboard.view import View


class WhatIf:
    """Edit the case; prediction, bars and curves follow."""

    name = "whatif"
    title = "What if?"
    area = "whatif"

    def blocks(self, view: View) -> list[Block]:
        return [
            {"id": "whatif.answer", "kind": "text", "area": self.area, "title": self.title, "items": answer(view), "live": True, "height": 76},
            {"id": "whatif.tools", "kind": "controls", "area": self.area, "row": True, "controls": _tools(view)},
            {
                "id": "whatif.features",
                "kind": "controls",
                "area": self.area,
                "controls": [_control(view, name) for name in by_importance(view)],
                "search": len(view.schema.features) > 8,
                "height": 640,
                "footer": "Curves: this case with one feature moved, the others held fixed. Grey track: outside the data.",
            },
        ]

    def apply(self, event: Event, view: View) -> Selection:
        selection, name = view.selection, str(event["id"])
        if event["block"] == "whatif.tools":
            return selection.change(linked=bool(event["value"])) if name == "linked" else selection.change(edits=())
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
        return [{"style": "sentence", "text": "Move a slider to see what the model would say. Other features are held fixed."}]
    codes = view.case.matrix[0]
    beyond = view.plausibility.outside(codes)
    moved = f"→ {scale.level(view.score)}  ({scale.change(view.score - before)}{_points(scale)})"
    items = [{"style": "lead", "text": moved, "tone": "muted"} if beyond else {"style": "lead", "text": moved}]
    if beyond:
        items.append({"style": "warning", "text": f"Outside the data: {_ranges(view, beyond)}. The model never saw such a {view.workspace.about.subject}; do not rely on this estimate."})
    elif view.plausibility.unlike(codes):
        items.append({"style": "warning", "text": f"No {view.workspace.about.subject} in the data is like this combination; the estimate is a guess."})
    else:
        items.append({"style": "caption", "text": f"Was {scale.level(before)}. Features not moved are held fixed."})
    return items


def _points(scale: Scale) -> str:
    return " points" if scale.space == "probability" else ""


def _ranges(view: View, names: list[str]) -> str:
    said = []
    for name in names[:3]:
        feature, j = view.schema.feature(name), view.schema.position(name)
        low, high = (value_text(feature, bound[j]) for bound in (view.plausibility.low, view.plausibility.high))
        said.append(f"{plain_text(feature.title)} {value_text(feature, view.case.matrix[0, j])} (seen: {low} to {high})")
    return "; ".join(said)


def by_importance(view: View) -> list[str]:
    """Features by what they contribute to the case as it stands in the data, so that sliders do not jump when moved."""
    unedited = View(view.workspace, view.selection.change(edits=()), view.compute)
    values = np.abs(unedited.reasons.values[0])
    return [view.schema.names[j] for j in np.argsort(-values, kind="stable")]


def _tools(view: View) -> list[Block]:
    tools: list[Block] = [{"id": "reset", "kind": "button", "label": "reset", "locked": not view.edited}]
    if any(companions(view, name) for name in view.schema.names):
        tools.append({"id": "linked", "kind": "toggle", "label": "move related features together", "value": view.selection.linked})
    return tools


def _control(view: View, name: str) -> Block:
    feature, j = view.schema.feature(name), view.schema.position(name)
    now, original = view.case.matrix[0, j], view.original.matrix[0, j]
    control: Block = {"id": name, "label": plain_text(feature.title), "note": _note(view, feature)}
    if feature.categorical:
        return control | _choice(view, feature, now, original)
    return control | _slider(view, feature, j, now, original)


def _note(view: View, feature: ex.Feature) -> str:
    notes = [feature.description] if feature.description else []
    if feature.change != "actionable":
        notes.append({"immutable": "cannot be changed in reality", "measured": "only moves with others"}[feature.change])
    together = companions(view, feature.name) if view.selection.linked else []
    if together:
        notes.append("moves with " + ", ".join(view.schema.feature(other).title for other in together[:4]))
    return plain_text(" · ".join(notes), 200) if notes else ""


def _slider(view: View, feature: ex.Feature, j: int, now: float, original: float) -> Block:
    bounds = view.plausibility
    decimals = 0 if feature.kind == "integer" else int(bounds.decimals[j])
    low = min(v for v in (feature.low, bounds.low[j], now) if v is not None and not np.isnan(v))
    high = max(v for v in (feature.high, bounds.high[j], now) if v is not None and not np.isnan(v))
    step = _step(low, high, decimals)
    low, high = np.floor(low / step) * step, np.ceil(high / step) * step
    shown = bounds.low[j] if np.isnan(now) else now
    return {
        "kind": "slider",
        "value": float(shown),
        "original": float(shown if np.isnan(original) else original),
        "min": float(low),
        "max": float(high if high > low else low + step),
        "step": float(step),
        "unit": plain_text(feature.unit) if feature.unit else "",
        "decimals": decimals,
        "display": value_text(feature, now),
        "outside": bool(now < bounds.low[j] or now > bounds.high[j]),
        "data_low": float(bounds.low[j]),
        "data_high": float(bounds.high[j]),
        "spark": _spark(view, feature, j),
    }


def _step(low: float, high: float, decimals: int) -> float:
    """The resolution of the data, coarsened so that a slider has at most some five hundred positions."""
    step = 10.0**-decimals
    while (high - low) / step > 500:
        step *= 10 if (high - low) / step > 5000 else 5 if (high - low) / step > 1000 else 2
    return step


def _choice(view: View, feature: ex.Feature, now: float, original: float) -> Block:
    options = [{"value": str(code), "label": plain_text(feature.category_title(code))} for code in range(len(feature.categories))]
    if np.isnan(original):
        options.append({"value": "nan", "label": "missing"})
    value = "nan" if np.isnan(now) else str(int(now))
    if len(options) <= 3:
        return {"kind": "segmented", "value": value, "options": options}
    return {"kind": "select", "value": value, "options": options, "original": "nan" if np.isnan(original) else str(int(original))}


def _spark(view: View, feature: ex.Feature, j: int) -> dict[str, Any]:
    grid, curve = view.curves.grids[j], view.curves.curves[j][0]
    scale = Scale(view.model.space, view.workspace.target_unit)
    decimals = 0 if view.model.space == "probability" else 1
    suffix = "\u202f%" if view.model.space == "probability" else ""
    return {
        "x": typed_array(grid, "f8"),
        "y": typed_array(curve),
        "density": typed_array(_density(view, j, grid)),
        "base": float(view.scores[view.selection.row]),
        "scale": scale.factor,
        "decimals": decimals,
        "suffix": suffix,
    }


def _density(view: View, j: int, grid: np.ndarray) -> np.ndarray:
    """How many cases lie around each grid value, the fullest as one."""
    values = view.data.matrix[:, j]
    values = values[~np.isnan(values)]
    if len(grid) < 2:
        return np.ones(len(grid))
    middle = (grid[1:] + grid[:-1]) / 2
    count = np.bincount(np.searchsorted(middle, values), minlength=len(grid)).astype(np.float64)
    return np.asarray(count / max(count.max(), 1.0))


def _without_restored(view: View, selection: Selection) -> Selection:
    """Forget edits that put a feature back where it was."""
    original = dict(zip(view.schema.names, view.original.matrix[0], strict=True))
    kept = tuple((name, code) for name, code in selection.edits if not (code == original[name] or (np.isnan(code) and np.isnan(original[name]))))
    return selection.change(edits=kept)

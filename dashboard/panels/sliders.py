"""One feature's slider or choice: its range, what lies outside the data, and the case's own curve under it."""

from __future__ import annotations

from typing import Any

import numpy as np

import explainers as ex
from dashboard.figures.numbers import LONGEST_UNIT, Scale
from dashboard.figures.text import plain_text, value_text, whole
from dashboard.linked.payload import typed_array
from dashboard.moves import companions
from dashboard.panels.panel import Block
from dashboard.view import View

#: Characters of a feature's name above its control; the pointer reads the whole.
LABEL = 60


def control_of(view: View, name: str) -> Block:
    """The slider or the choice of one feature, as the linked component takes it."""
    feature, j = view.schema.feature(name), view.schema.position(name)
    now, original = view.case.matrix[0, j], view.original.matrix[0, j]
    label = plain_text(feature.title, LABEL)
    control: Block = {"id": name, "label": label, "note": _note(view, feature)} | whole(feature.title, label)
    if feature.categorical:
        if now != original and not np.isnan(original):
            note = f"was {plain_text(feature.category_title(int(original)))} · {control['note']}"
            control["note"] = note.removesuffix(" · ")
        return control | _choice(feature, now, original)
    return control | _slider(view, feature, j, now, original)


def _note(view: View, feature: ex.Feature) -> str:
    notes = [feature.description] if feature.description else []
    if feature.change != "actionable":
        notes.append(
            {"immutable": "cannot be changed in reality", "measured": "only moves with others"}[
                feature.change
            ]
        )
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
        "unit": plain_text(feature.unit, LONGEST_UNIT) if feature.unit else "",
        "decimals": decimals,
        "display": value_text(feature, now),
        "outside": bool(now < bounds.low[j] or now > bounds.high[j]),
        "data_low": float(bounds.low[j]),
        "data_high": float(bounds.high[j]),
        "spark": _spark(view, j),
    }


def _step(low: float, high: float, decimals: int) -> float:
    """The resolution of the data, coarsened so that a slider has at most some five hundred positions."""
    step = 10.0**-decimals
    while (high - low) / step > 500:
        step *= 10 if (high - low) / step > 5000 else 5 if (high - low) / step > 1000 else 2
    return step


def _choice(feature: ex.Feature, now: float, original: float) -> Block:
    options = [
        {"value": str(code), "label": plain_text(feature.category_title(code))}
        for code in range(len(feature.categories))
    ]
    if np.isnan(original):
        options.append({"value": "nan", "label": "missing"})
    value = "nan" if np.isnan(now) else str(int(now))
    if len(options) <= 3:
        return {"kind": "segmented", "value": value, "options": options}
    return {
        "kind": "select",
        "value": value,
        "options": options,
        "original": "nan" if np.isnan(original) else str(int(original)),
    }


def _spark(view: View, j: int) -> dict[str, Any]:
    place = view.curves.names.index(view.schema.names[j])
    grid, curve = _through_case(
        view.curves.grids[place], view.curves.curves[place][0], view.case.matrix[0, j], view.score
    )
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


def _through_case(
    grid: np.ndarray, curve: np.ndarray, now: float, score: float
) -> tuple[np.ndarray, np.ndarray]:
    """The curve with the case's own point on it, so that slider and prediction agree where the case is."""
    if np.isnan(now) or now in grid:
        return grid, curve
    place = int(np.searchsorted(grid, now))
    return np.insert(grid, place, now), np.insert(curve, place, score)


def _density(view: View, j: int, grid: np.ndarray) -> np.ndarray:
    """How many cases lie around each grid value, the fullest as one."""
    values = view.data.matrix[:, j]
    values = values[~np.isnan(values)]
    if len(grid) < 2:
        return np.ones(len(grid))
    middle = (grid[1:] + grid[:-1]) / 2
    count = np.bincount(np.searchsorted(middle, values), minlength=len(grid)).astype(np.float64)
    return np.asarray(count / max(count.max(), 1.0))

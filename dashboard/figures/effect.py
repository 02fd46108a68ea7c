"""What the prediction does when one feature moves: the cases as thin lines, their mean, and where the data are."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures import marks
from dashboard.figures.frame import axis, error_bars, figure
from dashboard.figures.numbers import Scale
from dashboard.figures.palette import ACCENT, CURVES, NEUTRAL, OUTSIDE, tinted
from dashboard.figures.text import feature_of, plain_text, safe_text, title_text, value_text
from explainers import Effect, Feature, Schema

HEIGHT = 280
CURVES_AT_MOST = 50


def effect(
    result: Effect,
    feature: str,
    schema: Schema,
    selected: tuple[float, float] | None = None,
    density: np.ndarray | None = None,
    unit: str = "",
) -> go.Figure:
    """One feature's effect; bars where it is a category.

    Args:
        result: curves and mean of one or more features.
        feature: which of them.
        schema: the features.
        selected: code and output of the selected case, a dot.
        density: codes of this feature in the data, drawn as a histogram beneath; outside their range is grey.
        unit: the target's unit.
    """
    place = result.names.index(feature)
    scale, known = Scale(result.space, unit), feature_of(schema, feature)
    grid, mean = result.grids[place], result.mean[place] * scale.factor
    error = 2 * np.nan_to_num(result.standard_error[place]) * scale.factor
    values = None if density is None else density[np.isfinite(density)]
    if known is not None and known.categorical:
        traces, x = _categories(known, grid, mean, error, scale)
    else:
        traces, x = _lines(result.curves[place] * scale.factor, grid, mean, error, scale, known)
    if selected is not None and np.isfinite(selected).all():
        traces.append(_dot(selected[0], selected[1], scale, known))
    layout: dict[str, Any] = {
        "yaxis": axis(
            scale.level_axis, domain=[0.22, 1.0] if values is not None else [0.0, 1.0], zeroline=False
        )
    }
    if values is not None and len(values):
        traces.append(_density(values, grid, known))
        layout["yaxis2"] = {
            "domain": [0.0, 0.15],
            "visible": False,
            "fixedrange": True,
            "rangemode": "tozero",
        }
        x = {**x, "anchor": "y2"}
        if known is None or not known.categorical:
            layout["shapes"] = _outside(grid, values)
    title = title_text(schema, feature, 40)
    unit_of = f", {plain_text(known.unit, 20)}" if known is not None and known.unit else ""
    x = {**x, "title": axis(title + unit_of)["title"]}
    return figure(traces, HEIGHT, {"l": 52}, xaxis=x, **layout)


def _lines(
    curves: np.ndarray,
    grid: np.ndarray,
    mean: np.ndarray,
    error: np.ndarray,
    scale: Scale,
    known: Feature | None,
) -> tuple[list[go.Scatter], dict[str, Any]]:
    at: np.ndarray = (
        np.linspace(0, len(curves) - 1, min(len(curves), CURVES_AT_MOST)).round().astype(int)
        if len(curves)
        else np.empty(0, np.int64)
    )
    gaps = np.full((len(at), 1), np.nan)  # all cases are one trace; a gap ends each line
    thin = marks.Scatter(
        x=np.hstack([np.tile(grid, (len(at), 1)), gaps]).ravel().astype(np.float32),
        y=np.hstack([curves[at].reshape(len(at), len(grid)), gaps]).ravel().astype(np.float32),
        mode="lines", line={"color": CURVES, "width": 1}, hoverinfo="skip", connectgaps=False,
    )  # fmt: skip
    band = marks.Scatter(
        x=np.concatenate([grid, grid[::-1]]), y=np.concatenate([mean + error, (mean - error)[::-1]]),
        fill="toself", fillcolor=tinted(ACCENT, 0.25), mode="lines", line={"width": 0}, hoverinfo="skip",
    )  # fmt: skip
    words = [_value(known, code) for code in grid]
    thick = marks.Scatter(
        x=grid, y=mean, mode="lines", line={"color": ACCENT, "width": 3}, customdata=grid,
        hoverinfo="text", hovertext=[f"{w}<br>mean {safe_text(scale.level(m / scale.factor))}" for w, m in zip(words, mean, strict=True)],
    )  # fmt: skip
    low, high = float(np.min(grid)), float(np.max(grid))
    room = 0.02 * ((high - low) or 1.0)
    return [thin, band, thick], axis(range=[low - room, high + room], zeroline=False)


def _categories(
    known: Feature, grid: np.ndarray, mean: np.ndarray, error: np.ndarray, scale: Scale
) -> tuple[list[go.Bar], dict[str, Any]]:
    words = [_value(known, code) for code in grid]
    bars = marks.Bar(
        x=grid, y=mean, marker={"color": ACCENT, "line": {"width": 0}}, width=0.6, customdata=grid,
        error_y=error_bars(error) if error.any() else None, hoverinfo="text",
        hovertext=[f"{w}<br>mean {safe_text(scale.level(m / scale.factor))}" for w, m in zip(words, mean, strict=True)],
    )  # fmt: skip
    ends = [float(np.min(grid)) - 0.6, float(np.max(grid)) + 0.6]
    return [bars], axis(
        tickvals=list(map(float, grid)), ticktext=words, range=ends, showgrid=False, zeroline=False
    )


def _value(known: Feature | None, code: float) -> str:
    return safe_text(value_text(known, code)) if known is not None else f"{code:g}"


def _dot(code: float, output: float, scale: Scale, known: Feature | None) -> go.Scatter:
    return marks.Scatter(
        x=[float(code)], y=[float(output) * scale.factor], mode="markers", cliponaxis=False,
        marker={"size": 12, "color": ACCENT, "line": {"color": "white", "width": 2}},
        hoverinfo="text", hovertext=[f"selected case: {_value(known, code)}<br>{safe_text(scale.level(output))}"],
    )  # fmt: skip


def _density(values: np.ndarray, grid: np.ndarray, known: Feature | None) -> go.Bar:
    if known is not None and known.categorical:
        centres, counts = grid, np.array([np.sum(values == code) for code in grid])
        width = 0.6
    else:
        low, high = float(min(values.min(), grid.min())), float(max(values.max(), grid.max()))
        counts, edges = np.histogram(
            values, bins=min(40, max(5, len(np.unique(values)))), range=(low, high if high > low else low + 1)
        )
        centres, width = (edges[:-1] + edges[1:]) / 2, 0.9 * float(edges[1] - edges[0])
    return marks.Bar(
        x=centres, y=counts, width=width, marker={"color": NEUTRAL, "opacity": 0.6, "line": {"width": 0}}, yaxis="y2",
        hovertemplate="%{y} cases<extra></extra>",
    )  # fmt: skip


def _outside(grid: np.ndarray, values: np.ndarray) -> list[dict[str, Any]]:
    """Grey where no case is: what the model says there is a guess."""
    spans = [(float(grid.min()), float(values.min())), (float(values.max()), float(grid.max()))]
    common = {
        "type": "rect",
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "fillcolor": OUTSIDE,
        "line": {"width": 0},
        "layer": "below",
    }
    return [{**common, "x0": low, "x1": high} for low, high in spans if low < high]

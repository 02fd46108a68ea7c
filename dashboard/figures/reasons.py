"""The *Why?* chart: SHAP and LIME in two aligned columns. They answer different questions, so each has its own axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures import marks
from dashboard.figures.contributions import Part, hover_text, in_rows_of, level_of, parts, pooled
from dashboard.figures.frame import (
    axis,
    end_texts,
    error_bars,
    figure,
    left_margin,
    reach,
    row_height,
    rows_axis,
)
from dashboard.figures.numbers import Scale, r_squared
from dashboard.figures.palette import FADED, by_sign
from explainers import Attribution, Schema

WEAK_FIT = 0.3
_LIME = Scale("raw", "local weight")


def reasons(
    attribution: Attribution,
    lime: Attribution | None,
    schema: Schema,
    case: np.ndarray | None,
    row: int = 0,
    most: int = 8,
    unit: str = "",
    *,
    output: int = 0,
    lime_row: int | None = None,
) -> go.Figure:
    """Bars of one case ordered by SHAP, and beside them what LIME says of the same features.

    `unit` is the target's unit (or the name of a raw score that is no log-odds). `customdata` is the feature's
    name, empty on the pooled row. Error bars are two standard errors.
    """
    scale = Scale(attribution.space, unit)
    rows = pooled(parts(attribution, schema, case, row, output), most)
    labels = [part.label for part in rows]
    layout: dict[str, Any] = {"yaxis": rows_axis(labels)}
    if lime is None:
        traces, layout["xaxis"] = _column(rows, rows, scale, (f"SHAP, {scale.axis}",))
        return figure(traces, row_height(len(rows)), {"l": left_margin(labels)}, **layout)
    place = row if lime_row is None else lime_row
    fit = fit_of(lime, place, output)
    weak = fit is not None and not fit >= WEAK_FIT
    said = f"weak fit (R² {r_squared(fit)})" if weak and fit is not None else "local weight"
    aligned = in_rows_of(rows, _lime_parts(lime, schema, case, place, output))
    left, layout["xaxis"] = _column(rows, rows, scale, ("SHAP,", scale.axis), domain=[0.0, 0.53])
    right, layout["xaxis2"] = _column(
        aligned, rows, _LIME, ("LIME,", said), domain=[0.58, 1.0], x="x2", opacity=FADED if weak else 1.0
    )
    return figure([*left, *right], row_height(len(rows)), {"l": left_margin(labels), "b": 54}, **layout)


def fit_of(lime: Attribution, row: int = 0, output: int = 0) -> float | None:
    """The R² of LIME's local copy at one case, where the result states it."""
    if "r2" not in lime.diagnostics:
        return None
    stated = np.asarray(lime.diagnostics["r2"], dtype=np.float64)
    return float(stated if stated.ndim == 0 else level_of(stated, row, output))


def _lime_parts(
    lime: Attribution, schema: Schema, case: np.ndarray | None, row: int, output: int
) -> list[Part]:
    """LIME's weights; each is the weight of a condition, which the pointer reads."""
    every = parts(lime, schema, case, row, output)
    stated = lime.diagnostics.get("conditions")
    if stated is None:
        return every
    conditions = dict(zip(lime.names, stated[row], strict=True))
    return [dataclasses.replace(part, note=f"weight of: {conditions[part.names[0]]}") for part in every]


def _column(
    column: Sequence[Part | None],
    rows: Sequence[Part],
    scale: Scale,
    title: tuple[str, ...],
    *,
    domain: Sequence[float] = (0.0, 1.0),
    x: str = "x",
    opacity: float = 1.0,
) -> tuple[list[Any], dict[str, Any]]:
    """Bars, the figures at their ends, and the axis under them."""
    values = np.array([part.value if part else np.nan for part in column]) * scale.factor
    errors = np.array([2 * part.error if part else 0.0 for part in column]) * scale.factor
    texts = [scale.change(part.value) if part else "" for part in column]
    traces = [
        _bars(column, rows, values, errors, scale, opacity, x),
        end_texts(values, errors, texts, x=x, opacity=max(opacity, 0.6)),
    ]
    wide = int(290 * (domain[1] - domain[0]))
    return traces, axis(*title, domain=domain, anchor="y", range=reach(values, errors, texts, wide), nticks=4)


def _hovers(column: Sequence[Part | None], rows: Sequence[Part], scale: Scale) -> list[str]:
    whose = "LIME's local copy" if scale is _LIME else f"the model's {scale.noun}"
    return [hover_text(part, row, scale, whose) for part, row in zip(column, rows, strict=True)]


def _bars(
    column: Sequence[Part | None],
    rows: Sequence[Part],
    values: np.ndarray,
    errors: np.ndarray,
    scale: Scale,
    opacity: float,
    x: str,
) -> go.Bar:
    faded = [opacity if part is None or part.resolved else min(opacity, FADED) for part in column]
    return marks.Bar(
        x=values, y=np.arange(len(rows)), orientation="h",
        marker={"color": [by_sign(value) for value in values], "opacity": faded, "line": {"width": 0}},
        error_x=error_bars(errors) if errors.any() else None,
        customdata=["" if part.pooled else part.names[0] for part in rows],
        hoverinfo="text", hovertext=_hovers(column, rows, scale),
        xaxis=x, yaxis="y",
    )  # fmt: skip

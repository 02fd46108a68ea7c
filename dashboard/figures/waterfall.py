"""From the base value to the prediction, step by step: both ends marked, the largest step on top."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from dashboard.figures import marks
from dashboard.figures.contributions import Part, hover_text, level_of, parts, pooled
from dashboard.figures.frame import (
    axis,
    end_texts,
    error_bars,
    figure,
    left_margin,
    notice,
    row_height,
    rows_axis,
    rule,
    with_room,
)
from dashboard.figures.numbers import Scale
from dashboard.figures.palette import ACCENT, FADED, NEUTRAL, by_sign
from dashboard.figures.text import safe_text
from explainers import Attribution, Schema

BASE = "base value"


def waterfall(
    attribution: Attribution,
    schema: Schema,
    case: np.ndarray | None,
    row: int = 0,
    most: int = 8,
    unit: str = "",
    *,
    output: int = 0,
) -> go.Figure:
    """Steps from the base value (bottom) to the prediction (top); `customdata` is the feature's name.

    Without a base value there is nothing to start from, and the figure says so.
    """
    scale = Scale(attribution.space, unit)
    base, end = (level_of(values, row, output) for values in (attribution.base_value, attribution.output))
    steps = pooled(parts(attribution, schema, case, row, output), most)
    if math.isnan(base):
        return notice(
            "This method has no base value to start from; see the bars.", row_height(len(steps) + 2)
        )
    labels = [f"model's {scale.noun}", *(part.label for part in steps), BASE]
    sizes = np.array([part.value for part in steps]) * scale.factor
    errors = np.array([2 * part.error for part in steps]) * scale.factor
    starts = base * scale.factor + np.cumsum(sizes[::-1])[::-1] - sizes
    levels = np.array([end, base]) * scale.factor
    texts, ends = [scale.change(part.value) for part in steps], [scale.figure(end), scale.figure(base)]
    reached = np.concatenate([starts, starts + sizes - errors, starts + sizes + errors, levels])
    right = [
        *(text for text, size in zip(texts, sizes, strict=True) if not size < 0),
        *(f" {text}" for text in ends),
    ]
    left = [text for text, size in zip(texts, sizes, strict=True) if size < 0]
    return figure(
        [
            _steps(steps, starts, sizes, errors, scale),
            end_texts(sizes, errors, texts, starts=starts, first=1),
            _ends(levels, len(labels) - 1, ends),
        ],
        row_height(len(labels)),
        {"l": left_margin(labels)},
        xaxis=axis(scale.level_axis, range=with_room(reached, left, right, 170), zeroline=False),
        yaxis=rows_axis(labels),
        shapes=[rule(float(level)) for level in levels],
    )


def _steps(
    steps: Sequence[Part], starts: np.ndarray, sizes: np.ndarray, errors: np.ndarray, scale: Scale
) -> go.Bar:
    return marks.Bar(
        x=sizes, base=starts.tolist(), y=np.arange(len(steps)) + 1, orientation="h",
        marker={
            "color": [by_sign(size) for size in sizes],
            "opacity": [1.0 if part.resolved else FADED for part in steps],
            "line": {"width": 0},
        },
        error_x=error_bars(errors) if errors.any() else None,
        customdata=["" if part.pooled else part.names[0] for part in steps],
        hoverinfo="text", hovertext=[hover_text(part, part, scale, f"the model's {scale.noun}") for part in steps],
    )  # fmt: skip


def _ends(levels: np.ndarray, last: int, texts: Sequence[str]) -> go.Scatter:
    """The prediction and the base value: diamonds, with their figures."""
    return marks.Scatter(
        x=levels, y=[0, last], mode="markers+text", text=[f"  {safe_text(text)} " for text in texts],
        textposition="middle right", textfont={"size": 13}, cliponaxis=False,
        marker={"symbol": "diamond", "size": 11, "color": [ACCENT, NEUTRAL]},
        hoverinfo="text", hovertext=[f"the model says {safe_text(texts[0])}", f"compared with {safe_text(texts[1])}"],
        customdata=["", ""],
    )  # fmt: skip

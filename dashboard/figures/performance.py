"""How good is the model? Calibration, ROC and the distribution of scores; where it errs is in `mistakes`."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures import marks
from dashboard.figures.frame import axis, error_bars, figure, marked, rule
from dashboard.figures.mistakes import confusion, residuals
from dashboard.figures.numbers import Scale, counted, fixed, percent
from dashboard.figures.palette import ACCENT, FADED, NEUTRAL, ZERO, tinted
from dashboard.figures.statistics import FEW, rates_at, reliability, roc_points
from dashboard.figures.text import safe_text

__all__ = ["calibration", "confusion", "residuals", "roc", "score_histogram"]

HEIGHT = 280
STRIP = 96


def calibration(
    predictions: np.ndarray, truth: np.ndarray, *, bins: int = 10, selected: float | None = None
) -> go.Figure:
    """Predicted against observed share with 95 % intervals, and beneath how many cases stand behind each point.

    `truth` is 1 where the outcome was the class predicted; bins of fewer than 20 cases are faded.
    """
    table = reliability(predictions, truth, bins)
    kept = table.count > 0
    predicted, observed, count = table.predicted[kept], table.observed[kept], table.count[kept]
    enough = count >= FEW
    hover = [
        f"of {counted(int(n), 'case')} given {fixed(100 * low, 0)}–{percent(high)},<br>{round(n * share)} ({percent(share)}) had the outcome"
        + ("<br>too few cases to judge" if n < FEW else "")
        for n, low, high, share in zip(count, table.low[kept], table.high[kept], observed, strict=True)
    ]
    points = marks.Scatter(
        x=100 * predicted, y=100 * observed, mode="markers",
        marker={"size": 9, "color": ACCENT, "opacity": [1.0 if n >= FEW else FADED for n in count]}, cliponaxis=False,
        error_y={**error_bars(100 * (table.upper[kept] - observed)), "arrayminus": 100 * (observed - table.lower[kept])},
        hoverinfo="text", hovertext=hover,
    )  # fmt: skip
    counts = marks.Bar(
        x=50 * (table.low + table.high), y=table.count, width=90 / bins, yaxis="y2", hovertemplate="%{y} cases<extra></extra>",
        marker={"color": NEUTRAL, "opacity": 0.6, "line": {"width": 0}},
    )  # fmt: skip
    return figure(
        [_diagonal(100), _line(100 * predicted[enough], 100 * observed[enough]), points, counts], HEIGHT, {"l": 48},
        xaxis=axis("predicted, %", dtick=25, range=[-2, 102], anchor="y2", zeroline=False),
        yaxis=axis("observed, %", dtick=25, domain=[0.22, 1], range=[-4, 104], zeroline=False),
        yaxis2={"domain": [0, 0.14], "visible": False, "fixedrange": True, "rangemode": "tozero"},
        shapes=[] if selected is None else [rule(100 * selected)],
    )  # fmt: skip


def roc(scores: np.ndarray, truth: np.ndarray, threshold: float | None = None) -> go.Figure:
    """True against false positive rate, with the threshold in use as a dot."""
    false, true, cuts = roc_points(scores, truth)
    curve = marks.Scatter(
        x=100 * false, y=100 * true, mode="lines", line={"color": ACCENT, "width": 2.5}, customdata=cuts,
        hovertemplate="finds %{y:.0f} %, false alarms %{x:.0f} %<br>from %{customdata:.3~g} on<extra></extra>",
    )  # fmt: skip
    traces = [_diagonal(100), curve]
    if threshold is not None:
        x, y = rates_at(scores, truth, threshold)
        note = f"threshold {threshold:.3g}: finds {percent(y)},<br>false alarms {percent(x)}"
        traces.append(marked(100 * x, 100 * y, note))
    return figure(
        traces, HEIGHT, {"l": 48},
        xaxis=axis("false positive rate, %", dtick=25, range=[-2, 102], zeroline=False),
        yaxis=axis("true positive rate, %", dtick=25, range=[-2, 102], zeroline=False),
    )  # fmt: skip


def score_histogram(
    predictions: np.ndarray,
    truth: np.ndarray | None = None,
    selected: float | None = None,
    threshold: float | None = None,
    *,
    space: str = "probability",
    unit: str = "",
    names: tuple[str, str] = ("no", "yes"),
) -> go.Figure:
    """A small strip: how the scores of all cases lie, where this one is, and where the threshold is.

    `truth` (1 where the outcome happened) splits the bars; leave it out while the outcome is hidden.
    """
    scale = Scale(space, unit)
    values = predictions * scale.factor
    ends = (0.0, 100.0) if space == "probability" else (float(values.min()), float(values.max()))
    edges = np.linspace(ends[0], ends[1] if ends[1] > ends[0] else ends[0] + 1, 41)
    parts = [("cases", NEUTRAL, np.full(len(values), True))]
    if truth is not None:
        happened = np.asarray(truth, dtype=bool)
        parts = [(safe_text(names[0], 24), NEUTRAL, ~happened), (safe_text(names[1], 24), ACCENT, happened)]
    traces: list[Any] = [
        marks.Bar(
            x=(edges[:-1] + edges[1:]) / 2, y=np.histogram(values[part], edges)[0], width=0.92 * float(edges[1] - edges[0]),
            marker={"color": colour, "opacity": 0.75, "line": {"width": 0}}, name=name,
            hovertemplate=f"%{{y}} {name}<extra></extra>",
        )
        for name, colour, part in parts
    ]  # fmt: skip
    shapes = [] if threshold is None else [rule(threshold * scale.factor)]
    if selected is not None:
        shapes.append(rule(selected * scale.factor, line={"color": ACCENT, "width": 2, "dash": "solid"}))
        note = f"this case: {safe_text(scale.level(selected))}"
        traces.append(marked(selected * scale.factor, 0.0, note, symbol="triangle-up"))
    return figure(
        traces, STRIP, {"l": 8, "b": 34}, barmode="stack", bargap=0, shapes=shapes,
        xaxis=axis(scale.level_axis, range=_padded(edges), showgrid=False, zeroline=False),
        yaxis={"visible": False, "fixedrange": True, "rangemode": "tozero"},
    )  # fmt: skip


def _diagonal(end: float) -> go.Scatter:
    return marks.Scatter(
        x=[0, end],
        y=[0, end],
        mode="lines",
        line={"color": ZERO, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )


def _line(x: np.ndarray, y: np.ndarray) -> go.Scatter:
    return marks.Scatter(
        x=x, y=y, mode="lines", line={"color": tinted(ACCENT, 0.6), "width": 1.5}, hoverinfo="skip"
    )


def _padded(edges: np.ndarray) -> list[float]:
    room = 0.02 * float(edges[-1] - edges[0])
    return [float(edges[0]) - room, float(edges[-1]) + room]

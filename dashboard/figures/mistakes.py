"""Where the model errs: confusion of classes, residuals of a regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures import marks
from dashboard.figures.frame import axis, figure, marked
from dashboard.figures.numbers import percent
from dashboard.figures.palette import ACCENT, NEUTRAL, tinted
from dashboard.figures.statistics import confusion_counts
from dashboard.figures.text import plain_text, safe_text


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[Any]) -> go.Figure:
    """Cases by true class (rows) and predicted class (columns): colour is the share of the row.

    `truth` and `predicted` are output positions; `customdata` is ``[true, predicted]`` for a click on a cell.
    """
    table = confusion_counts(truth, predicted, len(classes))
    totals = table.sum(axis=1, keepdims=True)
    share = np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    names = [safe_text(name, 18) for name in classes]
    places = list(range(len(names)))
    texts = [
        [f"{n:,}<br>{percent(s)}" for n, s in zip(*line, strict=True)]
        for line in zip(table, share, strict=True)
    ]
    hover = [
        [f"{table[i, j]:,} of {totals[i, 0]:,} true “{names[i]}”<br>were called “{names[j]}”" for j in places]
        for i in places
    ]
    cells = marks.Heatmap(
        z=share, x=places, y=places, zmin=0, zmax=1, showscale=False, xgap=2, ygap=2, hoverinfo="text", hovertext=hover,
        colorscale=[[0, tinted(NEUTRAL, 0.08)], [1, tinted(ACCENT, 0.75)]],
        customdata=[[[i, j] for j in places] for i in places],
    )  # fmt: skip
    # Written by a trace of its own: a heatmap's own text takes its colour from the cell, not from the page.
    words = marks.Scatter(
        x=np.tile(places, len(places)), y=np.repeat(places, len(places)), mode="text", hoverinfo="skip",
        text=[text for line in texts for text in line] if len(places) <= 8 else [f"{n:,}" for n in table.ravel()],
        textfont={"size": 12},
    )  # fmt: skip
    ticks = {"tickvals": places, "ticktext": names, "showgrid": False, "zeroline": False}
    half = [-0.5, len(places) - 0.5]
    return figure(
        [cells, words], 40 * len(places) + 90, {"l": 64},
        xaxis=axis("predicted", range=half, **ticks), yaxis=axis("true", range=half[::-1], **ticks),
    )  # fmt: skip


def residuals(
    predictions: np.ndarray,
    truth: np.ndarray,
    positions: np.ndarray | None = None,
    *,
    selected: int | None = None,
    unit: str = "",
) -> go.Figure:
    """True minus predicted against predicted, at most 1,000 cases; `customdata` is the case's position."""
    positions = np.arange(len(predictions)) if positions is None else np.asarray(positions)
    known = np.flatnonzero(np.isfinite(truth))
    at = (
        known[np.linspace(0, len(known) - 1, min(len(known), 1000)).round().astype(int)]
        if len(known)
        else known
    )
    gap = truth - predictions
    dots = marks.Scatter(
        x=predictions[at].astype(np.float32), y=gap[at].astype(np.float32), mode="markers", customdata=positions[at].astype(np.int32),
        marker={"size": 5, "color": ACCENT, "opacity": 0.5},
        hovertemplate="case %{customdata}<br>predicted %{x:.4~g}<br>true − predicted %{y:+.3~g}<extra></extra>",
    )  # fmt: skip
    place = np.flatnonzero(positions == selected)
    chosen = [
        marked(float(predictions[i]), float(gap[i]), "selected case") for i in place if np.isfinite(gap[i])
    ]
    suffix = f", {plain_text(unit, 24)}" if unit else ""
    return figure(
        [dots, *chosen], 280, {"l": 52},
        xaxis=axis(f"predicted{suffix}", zeroline=False),
        yaxis=axis(f"true − predicted{suffix}", zerolinewidth=2),
    )  # fmt: skip

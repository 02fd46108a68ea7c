"""How the score follows a map, and how much of a map is left when weights are scrambled, each beside random maps."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

import explainers as ex
from dashboard.figures import marks
from dashboard.figures.frame import axis, figure
from dashboard.figures.numbers import Scale
from dashboard.figures.palette import ACCENT, NEUTRAL, tinted
from dashboard.figures.text import plain_text, safe_text

HEIGHT = 230

#: Of the name of a class, of which an axis may have to hold two.
LONGEST_NAME = 14


def removal_curves(found: ex.Faithfulness, unit: str = "") -> go.Figure:
    """Deletion on the left, insertion on the right: the map's curve over the band of the random maps."""
    scale, title = Scale(found.space, unit), _levels(found, unit)
    difference = isinstance(found.target, ex.Contrast)
    traces = [
        *_curve(found.deletion, scale, difference, "x", "y"),
        *_curve(found.insertion, scale, difference, "x2", "y2"),
    ]
    return figure(
        traces, HEIGHT, {"l": 34 + 14 * len(title), "t": 10},
        xaxis=axis("% of pixels taken away", domain=[0.0, 0.45], range=[0, 100], zeroline=False),
        xaxis2=axis("% of pixels put back", domain=[0.57, 1.0], range=[0, 100], zeroline=False),
        yaxis=axis(*title), yaxis2=axis(anchor="x2", matches="y"),
    )  # fmt: skip


def _levels(found: ex.Faithfulness, unit: str) -> list[str]:
    """The title of the axis of scores, in lines: of a contrast they are differences of two estimates, and may be below 0."""
    scale = Scale(found.space, unit)
    if not isinstance(found.target, ex.Contrast):
        return [scale.level_axis]
    target, against = (plain_text(name, LONGEST_NAME) for name in (found.target.target, found.target.against))
    return [f"{target} less {against},", scale.axis]


def _curve(curve: ex.Curve, scale: Scale, difference: bool, x: str, y: str) -> list[go.Scatter]:
    shares, band = 100 * np.asarray(curve.shares), curve.band
    written = [
        f"{scale.change(s)} {scale.axis}" if difference else scale.level(s) for s in map(float, curve.scores)
    ]
    levels = scale.factor * np.asarray(curve.scores)
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "xaxis": x, "yaxis": y}
    return [
        marks.Scatter(
            x=np.concatenate([shares, shares[::-1]]),
            y=scale.factor * np.concatenate([band.high, np.asarray(band.low)[::-1]]),
            fill="toself", fillcolor=tinted(NEUTRAL, 0.3), **edge,
        ),
        marks.Scatter(
            x=shares, y=scale.factor * np.asarray(band.mean), mode="lines", xaxis=x, yaxis=y,
            line={"color": NEUTRAL, "width": 1.5, "dash": "dot"}, hoverinfo="skip",
        ),
        marks.Scatter(
            x=shares, y=levels, mode="lines", line={"color": ACCENT, "width": 2.5}, xaxis=x, yaxis=y, hoverinfo="text",
            hovertext=[f"{share:.0f} %<br>{safe_text(score)}" for share, score in zip(shares, written, strict=True)],
        ),
    ]  # fmt: skip


def scrambled(found: ex.Randomisation) -> go.Figure:
    """Likeness of the map to itself after each stage; the band is where random maps as rough as it lie."""
    stages = np.arange(len(found.similarity) + 1)
    total = max(sum(map(len, found.layers)), 1)
    shares = 100 * np.cumsum([0, *map(len, found.layers)]) / total
    levels = np.concatenate([[1.0], found.similarity])
    band = {
        "type": "rect",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": 0,
        "y1": found.floor_95,
        "line": {"width": 0},
    }
    line = marks.Scatter(
        x=shares, y=levels, mode="lines+markers", line={"color": ACCENT, "width": 2.5}, marker={"size": 7, "color": ACCENT},
        cliponaxis=False, hoverinfo="text", hovertext=[f"stage {s}<br>likeness {level:.2f}" for s, level in zip(stages, levels, strict=True)],
    )  # fmt: skip
    return figure(
        [line], HEIGHT, {"l": 48, "t": 10},
        shapes=[{**band, "fillcolor": tinted(NEUTRAL, 0.3), "layer": "below"}],
        xaxis=axis("% of layers scrambled, from the output down", range=[-2, 102], zeroline=False),
        yaxis=axis("likeness to the map", range=[0, 1.05]),
    )  # fmt: skip

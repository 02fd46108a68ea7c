"""The frame of every figure: no template, no title, no ground, no font colour: page and theme give those."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.figures import marks
from dashboard.figures.palette import ACCENT, ERROR, GRID, ZERO
from dashboard.figures.text import safe_text

FONT = 13
SMALL = 12
CLEAR = "rgba(0,0,0,0)"


def figure(
    traces: Sequence[Any], height: int, margin: dict[str, int] | None = None, **layout: Any
) -> go.Figure:
    """A figure with the layout that all share."""
    settings = {
        "template": "none",
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 6, "b": 40, "pad": 2, **(margin or {})},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"size": FONT},
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "font": {"size": SMALL}},
        "dragmode": False,
        "bargap": 0.28,
    }
    return marks.Figure(data=list(traces), layout={**settings, **layout})


def figure_dict(chart: go.Figure) -> dict[str, Any]:
    """What `Plotly.react` takes, ready for JSON: arrays stay typed and in base64, the template is left out."""
    packed: dict[str, Any] = _listed(chart.to_plotly_json())
    packed["layout"] = {name: value for name, value in packed["layout"].items() if name != "template"}
    return packed


def _listed(value: Any) -> Any:
    """Arrays that Plotly leaves as they are (empty ones, mixed ones) as lists; NaN is a gap."""
    if isinstance(value, dict):
        return {name: _listed(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(part) for part in value]
    if isinstance(value, np.ndarray):
        return _listed(value.tolist())
    return None if isinstance(value, float) and math.isnan(value) else value


def row_height(rows: int) -> int:
    """A fixed height for so many bars: 22 px each and room for the axis."""
    return 22 * max(rows, 1) + 80


def axis(*title: str, **more: Any) -> dict[str, Any]:
    """An axis of numbers with a quiet grid and a clear zero; `title` is one or more lines of plain text."""
    return {
        "title": {
            "text": "<br>".join(safe_text(line) for line in title),
            "standoff": 6,
            "font": {"size": SMALL},
        },
        "tickfont": {"size": SMALL},
        "gridcolor": GRID,
        "zerolinecolor": ZERO,
        "zerolinewidth": 1,
        "ticks": "",
        "automargin": True,
        "fixedrange": True,
        "nticks": 5,
        "tickangle": 0,
        "separatethousands": True,
        **more,
    }


def rows_axis(labels: Sequence[str], **more: Any) -> dict[str, Any]:
    """The axis of a list of bars, the first on top.

    Positions are numbers: equal labels stay two rows, and a name like a date stays a name.
    """
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": [safe_text(label) for label in labels],
        "dtick": 1,
        "range": [len(labels) - 0.5, -0.5],
        "tickfont": {"size": SMALL},
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "automargin": True,
        "fixedrange": True,
        **more,
    }


def left_margin(labels: Sequence[str]) -> int:
    """Room for the labels in steps of 24 px, so that another value seldom moves the picture."""
    longest = max((len(label) for label in labels), default=0)
    return 24 * math.ceil(min(6.2 * longest + 8, 230) / 24)


def reach(values: np.ndarray, errors: np.ndarray, texts: Sequence[str] = (), width: int = 240) -> list[float]:
    """A range that holds bars, their error bars, zero, and the figures written at their ends.

    `width` is how many pixels the plot has at least; from it the room for the figures is reckoned.
    """
    known = np.isfinite(values)
    ends = np.concatenate([(values - errors)[known], (values + errors)[known], [0.0]])
    return with_room(
        ends,
        [t for t, v in zip(texts, values, strict=False) if v < 0],
        [t for t, v in zip(texts, values, strict=False) if not v < 0],
        width,
    )


def with_room(ends: np.ndarray, left: Sequence[str], right: Sequence[str], width: int = 240) -> list[float]:
    """From the lowest to the highest end, and beyond each as many pixels as its longest text needs."""
    low, high = float(ends.min()), float(ends.max())
    span = (high - low) or 1.0
    before, after = (
        max((7.0 * len(text) + 8 for text in side if text), default=0.0) for side in (left, right)
    )
    pixel = span / max(width - before - after, 0.4 * width)
    return [low - max(before * pixel, 0.02 * span), high + max(after * pixel, 0.02 * span)]


def error_bars(errors: np.ndarray) -> dict[str, Any]:
    """Error bars, thin and grey."""
    return {"type": "data", "array": errors, "thickness": 1.2, "width": 3, "color": ERROR}


def end_texts(
    sizes: np.ndarray,
    errors: np.ndarray,
    texts: Sequence[str],
    *,
    starts: np.ndarray | float = 0.0,
    first: int = 0,
    x: str = "x",
    opacity: float = 1.0,
) -> go.Scatter:
    """Figures beyond the ends of bars and of their error bars, from row `first` down."""
    down = sizes < 0
    return marks.Scatter(
        x=starts + np.where(down, sizes - errors, sizes + errors), y=np.arange(len(sizes)) + first,
        mode="text", text=[f" {text} " for text in texts],
        textposition=["middle left" if left else "middle right" for left in down],
        textfont={"size": SMALL}, opacity=opacity, hoverinfo="skip", cliponaxis=False, xaxis=x, yaxis="y",
    )  # fmt: skip


def rule(x: float, **more: Any) -> dict[str, Any]:
    """A thin vertical line over the whole height of the plot."""
    line = {"color": ZERO, "width": 1, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line, **more}


def marked(x: float, y: float, note: str, symbol: str = "circle") -> go.Scatter:
    """One place picked out: the selected case, the threshold in use."""
    return marks.Scatter(
        x=[x], y=[y], mode="markers", cliponaxis=False, hoverinfo="text", hovertext=[note],
        marker={"size": 11, "color": ACCENT, "symbol": symbol, "line": {"color": ERROR, "width": 1.5}},
    )  # fmt: skip


def notice(sentence: str, height: int = 120) -> go.Figure:
    """In place of a picture that cannot be drawn: why not."""
    note = {
        "text": safe_text(sentence),
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": 0.5,
        "y": 0.5,
    }
    hidden = {"visible": False, "fixedrange": True}
    return figure([], height, annotations=[note], xaxis=hidden, yaxis=hidden)

"""Every case at once: one dot per case and feature, placed by its contribution, coloured by the feature's value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.figures import marks
from dashboard.figures.frame import axis, figure, left_margin, row_height, rows_axis
from dashboard.figures.numbers import Scale, counted
from dashboard.figures.palette import LOW_TO_HIGH, NEUTRAL
from dashboard.figures.text import feature_of, safe_text, title_text, value_text
from explainers import Attribution, Schema

SVG_AT_MOST = 2000  # dots; above it WebGL is faster, below it only costs a context
HALF_ROW = 0.38

#: Features that have a row of their own, and dots in each: together fewer than SVG_AT_MOST.
MOST_ROWS, DOTS = 10, 180


def beeswarm(
    attribution: Attribution,
    schema: Schema,
    cases: np.ndarray,
    positions: np.ndarray | None = None,
    *,
    selected: int | None = None,
    most: int = MOST_ROWS,
    per_feature: int = DOTS,
    unit: str = "",
    output: int = 0,
) -> go.Figure:
    """Rows by mean |SHAP|, the rest pooled; thinned to `per_feature` dots, extremes and the selected case kept.

    Args:
        attribution: values ``(m, d)`` (or ``(m, d, k)``).
        schema: the features.
        cases: codes of the same cases, ``(m, d)``.
        positions: what stands in `customdata`: each case's position in the data; by default its place here.
        selected: the position of the selected case; it gets a ring in every row.
    """
    scale = Scale(attribution.space, unit)
    values = attribution.values[..., output] if attribution.values.ndim == 3 else attribution.values
    positions = np.arange(len(values)) if positions is None else np.asarray(positions)
    shown, rest = _shown(values, most)
    labels = [title_text(schema, attribution.names[j]) for j in shown]
    dots = [
        _row(i, values[:, j] * scale.factor, _shade(schema, attribution.names[j], cases))
        for i, j in enumerate(shown)
    ]
    if len(rest):
        dots.append(
            _row(len(labels), values[:, rest].sum(axis=1) * scale.factor, np.full(len(values), np.nan))
        )
        labels.append(counted(len(rest), "other feature"))
    kept = [_thinned(row["x"], per_feature, np.flatnonzero(positions == selected)) for row in dots]
    columns = {
        name: np.concatenate([row[name][keep] for row, keep in zip(dots, kept, strict=True)])
        for name in ("x", "y", "shade")
    }
    where = np.concatenate([positions[keep] for keep in kept])
    texts = [
        text
        for j, keep in zip(shown, kept, strict=False)
        for text in _texts(schema, attribution.names[j], cases, keep)
    ]
    texts += [safe_text(labels[-1])] * (len(where) - len(texts))
    chosen = np.flatnonzero(where == selected) if selected is not None else np.empty(0, np.int64)
    extent = max(float(np.abs(columns["x"]).max(initial=0.0)) * 1.06, 1e-9)
    return figure(
        [_dots(columns, where, texts, scale), _ring(columns, where, texts, chosen)],
        row_height(len(labels)),
        {"l": left_margin(labels), "r": 64},
        xaxis=axis(f"SHAP, {scale.axis}", range=[-extent, extent]),
        yaxis=rows_axis(labels),
    )


def drawn(
    attribution: Attribution, positions: np.ndarray, selected: int | None = None, *, most: int = MOST_ROWS,
    per_feature: int = DOTS,
) -> pd.DataFrame:  # fmt: skip
    """The dots of the picture as a table: the case's position in the data, the feature, and its value as computed."""
    values = attribution.values
    shown, rest = _shown(values, most)
    columns = [(attribution.names[j], values[:, j]) for j in shown]
    columns += [(counted(len(rest), "other feature"), values[:, rest].sum(axis=1))] if len(rest) else []
    held = np.flatnonzero(positions == selected)
    tables = []
    for name, column in columns:
        keep = _thinned(column, per_feature, held)
        tables.append(pd.DataFrame({"case": positions[keep], "feature": name, "value": column[keep]}))
    return pd.concat(tables, ignore_index=True)


def _shown(values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Which features get a row, by mean |SHAP|, and which are pooled."""
    order = np.argsort(-np.abs(values).mean(axis=0), kind="stable")
    return (order, order[:0]) if len(order) <= most + 1 else (order[:most], order[most:])


def _row(place: int, x: np.ndarray, shade: np.ndarray) -> dict[str, np.ndarray]:
    return {"x": np.asarray(x, dtype=np.float64), "y": place + _jitter(x), "shade": shade}


def _jitter(x: np.ndarray, bins: int = 60) -> np.ndarray:
    """Dots that fall together spread over the height of the row, in a fixed order; lonely ones stay in the middle."""
    span = float(np.ptp(x)) if len(x) else 0.0
    bin_of = (
        np.zeros(len(x), int)
        if span == 0
        else np.minimum(((x - x.min()) / span * bins).astype(int), bins - 1)
    )
    counts = np.bincount(bin_of, minlength=bins)
    order = np.argsort(bin_of, kind="stable")
    rank = np.empty(len(x), int)
    rank[order] = np.arange(len(x)) - (np.cumsum(counts) - counts)[bin_of[order]]
    side = np.where(rank % 2 == 0, 1, -1) * ((rank + 1) // 2)
    jitter: np.ndarray = HALF_ROW * 2 * side / max(int(counts.max(initial=1)), 8)
    return jitter


def _shade(schema: Schema, name: str, cases: np.ndarray) -> np.ndarray:
    """The feature's value between 0 and 1: by the 5th to 95th percentile, a category by its code; missing stays NaN."""
    feature = feature_of(schema, name)
    if feature is None:
        return np.full(len(cases), np.nan)
    codes = cases[:, schema.position(name)]
    if feature.categorical:
        low, high = 0.0, float(len(feature.categories) - 1)
    else:
        low, high = np.nanpercentile(codes, [5, 95]) if np.isfinite(codes).any() else (0.0, 1.0)
    scaled: np.ndarray = (
        np.clip((codes - low) / (high - low), 0, 1) if high > low else np.where(np.isnan(codes), np.nan, 0.5)
    )
    return scaled


def _thinned(x: np.ndarray, most: int, keep: np.ndarray) -> np.ndarray:
    """Evenly along the order of the values: both extremes stay, and the shape with them."""
    if len(x) <= most:
        return np.arange(len(x))
    chosen = np.argsort(x, kind="stable")[np.linspace(0, len(x) - 1, most).round().astype(int)]
    return np.union1d(chosen, keep)


def _texts(schema: Schema, name: str, cases: np.ndarray, keep: np.ndarray) -> list[str]:
    feature = feature_of(schema, name)
    title = safe_text(title_text(schema, name))
    if feature is None:
        return [title] * len(keep)
    codes = cases[keep, schema.position(name)]
    words = {code: f"{title} = {safe_text(value_text(feature, code))}" for code in np.unique(codes)}
    missing = f"{title} = missing"
    return [missing if np.isnan(code) else words[code] for code in codes]


def _dots(columns: dict[str, np.ndarray], where: np.ndarray, texts: list[str], scale: Scale) -> Any:
    kind = marks.Scattergl if len(where) > SVG_AT_MOST else marks.Scatter
    shade = columns["shade"]
    known = ~np.isnan(shade)
    # One trace: grey comes first on the scale, so that missing values need no trace of their own.
    colours = [
        [0.0, NEUTRAL],
        [0.001, NEUTRAL],
        [0.001, LOW_TO_HIGH[0][1]],
        *([0.001 + 0.999 * at, c] for at, c in LOW_TO_HIGH[1:]),
    ]
    bar = {
        "thickness": 8, "len": 0.75, "x": 1.01, "tickvals": [0.02, 0.98], "ticktext": ["low", "high"], "ticks": "",
        "outlinewidth": 0, "tickfont": {"size": 12}, "title": {"text": "value", "side": "top", "font": {"size": 12}},
    }  # fmt: skip
    return kind(
        x=columns["x"].astype(np.float32), y=columns["y"].astype(np.float32), mode="markers",
        marker={
            "size": 5.5, "opacity": 0.85, "color": np.where(known, 0.001 + 0.999 * shade, 0.0).astype(np.float32),
            "cmin": 0, "cmax": 1, "colorscale": colours, "colorbar": bar, "line": {"width": 0},
        },
        customdata=where.astype(np.int32), text=texts,
        hovertemplate=f"%{{text}}<br>%{{x:+.3~g}} {safe_text(scale.axis)}<br>case %{{customdata}}<extra></extra>",
    )  # fmt: skip


def _ring(
    columns: dict[str, np.ndarray], where: np.ndarray, texts: list[str], chosen: np.ndarray
) -> go.Scatter:
    """The selected case in each row."""
    return marks.Scatter(
        x=columns["x"][chosen], y=columns["y"][chosen], mode="markers", customdata=where[chosen].astype(np.int32),
        marker={"symbol": "circle-open", "size": 12, "color": NEUTRAL, "line": {"width": 2.5}},
        text=[texts[i] for i in chosen], hovertemplate="%{text}<br>selected case<extra></extra>",
    )  # fmt: skip

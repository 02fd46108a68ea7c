"""What the model uses beside what accuracy needs: two questions, two axes, the same rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from dashboard.figures import marks
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
from dashboard.figures.numbers import Scale, counted, number
from dashboard.figures.palette import ACCENT, NEUTRAL
from dashboard.figures.text import LONGEST, safe_text, title_text
from explainers import Importance, Schema

USES, NEEDS = "what the model uses", "what accuracy needs"
Group = tuple[str, ...]
Bar = tuple[float, float]  # value and standard error


def in_scale(importance: Importance, space: str, unit: str = "") -> Importance:
    """Mean |SHAP| in the unit in which contributions are drawn: percentage points, log-odds, target units."""
    scale = Scale(space, unit)

    def scaled(error: np.ndarray | None) -> np.ndarray | None:
        return None if error is None else error * scale.factor

    return dataclasses.replace(
        importance,
        values=importance.values * scale.factor,
        metric=f"mean |SHAP|, {scale.axis}",
        standard_error=scaled(importance.standard_error),
        background_error=scaled(importance.background_error),
    )


def importances(
    left: Importance,
    right: Importance | None,
    schema: Schema,
    most: int = 10,
    *,
    titles: tuple[str, str] = (USES, NEEDS),
    selected: str | None = None,
) -> go.Figure:
    """Bars ordered by the left (where it is NaN, by the right), the rest pooled; `customdata` is the feature's name (a group's first).

    Error bars are two standard errors; importance has no sign, so no bar has a signed colour.
    """
    groups = _groups(left, right)
    bars = {
        group: (_bar(left, group)[0], math.nan if right is None else _bar(right, group)[0])
        for group in groups
    }
    order = sorted(
        groups, key=lambda group: [-value if value == value else math.inf for value in bars[group]]
    )
    rows, rest = (order, []) if len(order) <= most + 1 else (order[:most], order[most:])
    labels = [group_title(schema, group) for group in rows]
    labels += [counted(len(rest), "other feature")] if rest else []
    layout = {"yaxis": rows_axis(labels)}
    traces = []
    sides = [left] if right is None else [left, right]
    for index, side in enumerate(sides):
        column = [_bar(side, group) for group in rows] + ([_rest(side, rest)] if rest else [])
        values, errors = np.array([bar[0] for bar in column]), 2 * np.array([bar[1] for bar in column])
        name = "" if index == 0 else "2"
        domain = [0.0, 1.0] if len(sides) == 1 else [[0.0, 0.47], [0.53, 1.0]][index]
        known = bool(np.isfinite(values).any())
        texts = [number(value, 2) if value == value else "" for value in values]
        wide = int(300 * (domain[1] - domain[0]))
        layout[f"xaxis{name}"] = axis(
            titles[index],
            side.metric,
            domain=domain,
            anchor="y",
            range=reach(values, errors, texts, wide) if known else [0, 1],
            showticklabels=known,
            nticks=4,
        )
        traces += [
            _bars(values, errors, rows, labels, schema, side.metric, selected, f"x{name}"),
            end_texts(values, errors, texts, x=f"x{name}"),
        ]
    return figure(traces, row_height(len(labels)) + 14, {"l": left_margin(labels), "b": 54}, **layout)


def group_title(schema: Schema, group: Group) -> str:
    """The first feature of a group, and how many are related to it."""
    related = f" and {len(group) - 1} related" if len(group) > 1 else ""
    return title_text(schema, group[0], 26 - len(related)) + related


def _groups(left: Importance, right: Importance | None) -> list[Group]:
    """The rows: groups where either side has them, else single features; every feature of the left once."""
    grouped = [group for side in (right, left) if side is not None for group in side.groups if len(group) > 1]
    rows: list[Group] = []
    taken: set[str] = set()
    members = left.groups if len(left.groups) == len(left.names) else tuple((name,) for name in left.names)
    for group in [*grouped, *members]:
        if not taken.intersection(group):
            rows.append(tuple(group))
            taken.update(group)
    return rows


def _bar(side: Importance, group: Group) -> Bar:
    """The value of a group: its own where the result has it, else the sum over its features."""
    for place, own in enumerate(side.groups if len(side.groups) == len(side.names) else ()):
        if set(own) == set(group):
            return _at(side, [place])
    places = [place for place, name in enumerate(side.names) if name in group]
    return _at(side, places) if places else (math.nan, 0.0)


def _rest(side: Importance, rest: Sequence[Group]) -> Bar:
    known = [bar for bar in (_bar(side, group) for group in rest) if bar[0] == bar[0]]
    return (
        (sum(bar[0] for bar in known), math.hypot(*(bar[1] for bar in known))) if known else (math.nan, 0.0)
    )


def _at(side: Importance, places: Sequence[int]) -> Bar:
    errors = [0.0] if side.standard_error is None else np.nan_to_num(side.standard_error[list(places)])
    return float(side.values[list(places)].sum()), math.hypot(*errors)


def _bars(
    values: np.ndarray,
    errors: np.ndarray,
    rows: Sequence[Group],
    labels: Sequence[str],
    schema: Schema,
    metric: str,
    selected: str | None,
    x: str,
) -> go.Bar:
    members = [", ".join(title_text(schema, name, LONGEST) for name in group) for group in rows]
    hovers = []
    for full, value, error in zip([*members, *labels[len(rows) :]], values, errors, strict=True):
        text = f"{safe_text(full, 300)}<br>{number(value, 3)} ({safe_text(metric)})"
        hovers.append(text + (f"<br>± {number(error, 2)}: error of the estimate" if error else ""))
    marked = [selected is not None and selected in group for group in rows] + [False] * (
        len(labels) - len(rows)
    )
    colour = ACCENT if x == "x" else NEUTRAL
    return marks.Bar(
        x=values, y=np.arange(len(labels)), orientation="h",
        marker={"color": colour, "line": {"color": ACCENT, "width": [2 if mark else 0 for mark in marked]}},
        error_x=error_bars(errors) if errors.any() else None,
        customdata=[*(group[0] for group in rows), *[""] * (len(labels) - len(rows))],
        hoverinfo="text", hovertext=hovers, xaxis=x, yaxis="y",
    )  # fmt: skip

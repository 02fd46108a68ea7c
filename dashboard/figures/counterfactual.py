"""Suggestions as tables: now, then, difference. Only what changes is coloured; what is locked says so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dashboard.figures.numbers import MINUS, PLUS, Scale, number
from dashboard.figures.text import feature_of, title_of, title_text, value_text, whole
from explainers import Counterfactuals, Feature, Schema

LOCKED = "(locked)"
LOAD = {"id": "load", "label": "load"}
Cell = dict[str, Any]


def suggestion_table(
    counterfactuals: Counterfactuals,
    schema: Schema,
    case: int = 0,
    rank: int | None = None,
    *,
    everything: bool = False,
    unit: str = "",
) -> dict[str, Any]:
    """``{"columns", "rows"}`` of cells ``{"text", "tone", "bold"}``, as the linked table takes them.

    With a `rank`: now, then and difference of that suggestion. Without: now, and one column ``suggestion0``, … for each, with a button to load it.
    The first row is the prediction. `everything` adds the features that stay, locked ones say so.
    """
    count = int(counterfactuals.found[case])
    ranks = list(range(count)) if rank is None else [rank]
    now = counterfactuals.original[case]
    moved = np.array(
        [[_moved(a, b) for a, b in zip(now, counterfactuals.changed[case, r], strict=True)] for r in ranks]
    )
    moved = moved.reshape(len(ranks), len(now))
    scale = Scale(counterfactuals.space, unit)
    columns = [_column("feature", "", "left"), _column("now", "now")]
    if rank is None:
        columns += [{**_column(f"suggestion{r}", str(r + 1)), "button": dict(LOAD)} for r in ranks]
    else:
        columns += [_column("then", "then"), _column("difference", "difference")]
    rows = [{"id": "prediction", "cells": _prediction(counterfactuals, scale, case, ranks, rank is not None)}]
    for place, name in enumerate(counterfactuals.names):
        if everything or moved[:, place].any():
            thens = [float(counterfactuals.changed[case, r, place]) for r in ranks]
            cells = _cells(schema, name, float(now[place]), thens, moved[:, place], rank is not None)
            rows.append({"id": f"feature{place}", "cells": cells})
    return {"columns": columns, "rows": rows}


def changes(counterfactuals: Counterfactuals, schema: Schema, case: int = 0, rank: int = 0) -> list[str]:
    """What a suggestion changes, one phrase per feature: ``Respiratory rate 38 → 24 /min``, ``asthma no → yes``."""
    phrases = []
    for name, now, then in zip(
        counterfactuals.names,
        counterfactuals.original[case],
        counterfactuals.changed[case, rank],
        strict=True,
    ):
        if _moved(now, then):
            feature = feature_of(schema, name)
            phrases.append(f"{title_text(schema, name, 60)} {_from_to(feature, float(now), float(then))}")
    return phrases


def _from_to(feature: Feature | None, now: float, then: float) -> str:
    first, second = _shown(feature, now), _shown(feature, then)
    if feature is not None and feature.unit and not math.isnan(then) and not feature.categorical:
        first = first.removesuffix(feature.unit).rstrip()
    return f"{first} → {second}"


def _shown(feature: Feature | None, code: float) -> str:
    return value_text(feature, code, 24) if feature is not None else number(code)


def _moved(now: float, then: float) -> bool:
    return not (now == then or (math.isnan(now) and math.isnan(then)))


def _column(name: str, label: str, align: str = "right") -> dict[str, Any]:
    return {"id": name, "label": label, "align": align}


def _cell(text: str, *, tone: str | None = None, bold: bool = False) -> Cell:
    return {"text": text, **({"tone": tone} if tone else {}), **({"bold": True} if bold else {})}


def _prediction(
    found: Counterfactuals, scale: Scale, case: int, ranks: list[int], difference: bool
) -> list[Cell]:
    before = float(found.before[case])
    after = [float(found.output[case, r]) for r in ranks]
    cells = [_cell(f"model's {scale.noun}", bold=True), _cell(scale.level(before), bold=True)]
    cells += [_cell(scale.level(value), bold=True) for value in after]
    return [*cells, _cell(scale.change(after[0] - before), bold=True)] if difference else cells


def _cells(
    schema: Schema, name: str, now: float, thens: list[float], moved: np.ndarray, difference: bool
) -> list[Cell]:
    feature = feature_of(schema, name)
    locked = feature is not None and feature.change == "immutable"
    title = title_text(schema, name, 40)
    cells = [_cell(f"{title} {LOCKED}" if locked else title) | whole(title_of(schema, name), title)]
    cells.append(_cell(_shown(feature, now)))
    for then, changed in zip(thens, moved, strict=True):
        cells.append(
            _cell(_shown(feature, then), tone="changed", bold=True)
            if changed
            else _cell("as now", tone="muted")
        )
    if difference:
        cells.append(_cell(_difference(feature, now, thens[0]), tone="changed" if moved[0] else "muted"))
    return cells


def _difference(feature: Feature | None, now: float, then: float) -> str:
    if (
        not _moved(now, then)
        or math.isnan(now)
        or math.isnan(then)
        or (feature is not None and feature.categorical)
    ):
        return "changed" if _moved(now, then) else ""
    gap = then - now
    return f"{PLUS if gap > 0 else MINUS}{number(abs(gap))}"

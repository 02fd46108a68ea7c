"""A made picture with the real pictures beside it, for the browser and as a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

import explainers as ex
from dashboard import words
from dashboard.figures.images import as_seen, averaged, layer_png
from dashboard.figures.numbers import Scale, number
from dashboard.figures.text import plain_text
from dashboard.panels.made_requests import Made
from dashboard.panels.picture import pixel_range
from dashboard.view import View

#: Pixels on a side of a made picture and of a real one beside it, as they are sent.
MOST_PIXELS, SIDE = 512, 160

ARRAYS = ("pictures", "activation", "start", "history", "examples", "example_activation")


def tiles(view: View, one: Made) -> list[dict[str, Any]]:
    """One for each unit of a request; a place with words while there is nothing to show."""
    if one.result is not None:
        return [_tile(view, one, one.result, unit) for unit in range(one.units)]
    said = plain_text(one.said, 600)
    return [
        {"id": _name(one, unit), "title": _title(view, one, unit), "caption": said}
        for unit in range(one.units)
    ]


def _tile(view: View, one: Made, result: ex.Visualizations, unit: int) -> dict[str, Any]:
    best = int(np.argmax(result.activation[unit]))  # of several starts
    level, ends = _level(view, result.space), pixel_range(view)
    reached, real = float(result.activation[unit, best]), result.example_activation[unit]
    caption = f"reaches {level(reached)}; the highest real picture {level(float(real[0]))}"
    made = averaged(np.asarray(result.pictures[unit, best]), MOST_PIXELS)
    return {
        "id": _name(one, unit),
        "base": layer_png(as_seen(made, ends)),
        "title": _title(view, one, unit),
        "caption": f"{caption} ({one.said})" if one.said else caption,
        "selected": bool(one.places) and one.places[unit] == view.output,
        "save": one.done,
        "beside": [
            {
                "id": f"row {row}",
                "base": layer_png(as_seen(averaged(np.asarray(view.data.X[row]), SIDE), ends)),
                "title": f"Case {row}, {level(float(value))}",
                "caption": level(float(value)),
            }
            for row, value in zip(result.examples[unit].tolist(), real, strict=True)
        ],
    }


def _name(one: Made, unit: int) -> str:
    return f"class {one.places[unit]}" if one.places else "made"


def _title(view: View, one: Made, unit: int) -> str:
    if one.places:
        return plain_text(view.model.classes[one.places[unit]], 60)
    return f"channel {one.explainer.channel}" if one.explainer.layer else plain_text(view.class_name, 60)


def _level(view: View, space: str) -> Callable[[float], str]:
    """How a response is written; a raw score behind several outputs is no log-odds."""
    if space == "activation":
        return lambda value: number(value, 3)
    scale = Scale(space, view.unit_of(space))
    return scale.figure if space == "raw" else scale.level


def packed(results: list[ex.Visualizations]) -> bytes:
    """Pictures, responses and the real pictures beside them, as an ``.npz`` that holds no objects."""
    stream = io.BytesIO()
    arrays = {name: np.concatenate([getattr(result, name) for result in results]) for name in ARRAYS}
    np.savez_compressed(
        stream,
        **arrays,
        names=np.array([plain_text(name) for result in results for name in result.names]),
        space=np.array(results[0].space),
        settings=np.array([words.reproduction_line(result) for result in results]),
        allow_pickle=False,
    )
    return stream.getvalue()

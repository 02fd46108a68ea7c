"""Where does it look, over many pictures? The mean map of each class beside the mean picture."""

from __future__ import annotations

from typing import Any

import numpy as np

import explainers as ex
from dashboard import policy, words
from dashboard.figures.images import as_seen, layer_png, map_limit, overlay_values
from dashboard.figures.numbers import counted
from dashboard.figures.text import plain_text
from dashboard.panels.panel import Block, Event
from dashboard.panels.picture import TINY
from dashboard.selection import Selection
from dashboard.view import View

#: Pictures averaged for each class.
AVERAGED = 60


class PicturesTogether:
    """Mean overlay for each class: what is always looked at stands out, such as a marker in a corner."""

    name = "together"
    title = "Where does it look, over many pictures?"
    area = "main"

    def blocks(self, view: View) -> list[Block]:
        methods = policy.picture_methods(view.refused)
        if not methods or not view.model.classes:
            raise ex.NotApplicable(
                "No picture method applies to this model, or it has no classes to compare."
            )
        found: list[tuple[np.ndarray, Any, ex.Attribution | None]] = []
        for place, name in enumerate(view.model.classes):
            rows = view.workspace.rows[view.decided[view.workspace.rows] == place][:AVERAGED]
            if len(rows) == 0:
                continue
            result = view.later(
                f"Mean map of {plain_text(name)}", methods[0], tuple(int(row) for row in rows), name
            )
            found.append((rows, name, result))
        maps = [np.asarray(result.values).mean(axis=0) for _, _, result in found if result is not None]
        limit = map_limit(*maps) if maps else 1.0
        pictures = _on_one_scale([view.data.X[rows].mean(axis=0) for rows, _, _ in found])
        tiles = [
            _tile(view, picture, len(rows), name, result, limit)
            for picture, (rows, name, result) in zip(pictures, found, strict=True)
        ]
        last = next((result for _, _, result in found if result is not None), None)
        about = {
            "style": "sentence",
            "text": f"Mean {methods[0].title} map of the pictures decided as each class, over their mean picture. All maps share one scale, and so do the mean pictures; what stands out in all pictures of a class may be what the model goes by.",
        }
        footer = {} if last is None else {"footer": words.footer(last), "code": words.reproduction_line(last)}
        return [
            {"id": "together.text", "kind": "text", "area": self.area, "title": self.title, "items": [about]},
            {
                "id": "together.maps",
                "kind": "image",
                "area": self.area,
                "tiles": tiles,
                "tile_size": 220,
                "tools": True,
                "opacity": 0.6,
                "colours": "auto",
                "click": True,
            }
            | footer,
        ]

    def apply(self, event: Event, view: View) -> Selection:
        if event["type"] != "tile":
            return view.selection
        label = next(name for name in view.model.classes if str(name) == event["id"])
        return view.selection.change(target=label)


def _on_one_scale(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """The pictures from 0 to 1, black and white at the lowest and highest value of all: brighter is brighter in each."""
    low = min((float(picture.min()) for picture in pictures), default=0.0)
    high = max((float(picture.max()) for picture in pictures), default=1.0)
    return [as_seen((picture - low) / max(high - low, 1e-9), (0.0, 1.0)) for picture in pictures]


def _tile(
    view: View, picture: np.ndarray, count: int, name: Any, result: ex.Attribution | None, limit: float
) -> dict[str, Any]:
    tile: dict[str, Any] = {
        "id": str(name),
        "base": layer_png(picture),
        "title": plain_text(name),
        "caption": counted(count, "picture"),
        "selected": name == view.target,
    }
    if result is not None:
        values = np.asarray(result.values).mean(axis=0)
        tile["overlay"] = overlay_values(values, limit) | {"smooth": values.shape[-1] >= TINY}
        tile["grey"] = True  # a picture's own colours would be taken for the map's
    else:
        tile["caption"] = "computing…"
    return tile

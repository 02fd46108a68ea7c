"""Why that class? The plain picture, the overlay beside it, and every method as a small picture below."""

from __future__ import annotations

from typing import Any

import numpy as np

import explainers as ex
from dashboard import policy, words
from dashboard.figures.images import layer_png, map_limit, overlay_values
from dashboard.figures.numbers import Scale
from dashboard.figures.text import plain_text
from dashboard.panels.panel import Block, Event
from dashboard.selection import Selection
from dashboard.view import View

#: Pictures smaller than this are shown with hard pixel edges; larger maps are smoothed as the field does.
TINY = 32

COMPUTING = "computing…"


class Picture:
    """Saliency overlays; opacity, threshold and colours move in the browser alone."""

    name = "picture"
    title = "Why?"
    area = "main"

    def blocks(self, view: View) -> list[Block]:
        methods = policy.picture_methods(view.refused)
        found = {type(method).__name__: self._ask(view, method) for method in methods}
        done = [name for name, answer in found.items() if isinstance(answer, ex.Attribution)]
        large = view.selection.method if view.selection.method in done else next(iter(done), "")
        answer = found.get(large)
        result = answer if isinstance(answer, ex.Attribution) else None
        pixels = plain(view)
        tiles: list[dict[str, Any]] = [{"id": "plain", "base": pixels, "title": "The picture"}]
        if result is not None:
            tiles.append(
                {
                    "id": large,
                    "base": pixels,
                    "overlay": overlay(result),
                    "title": f"{title_of(methods, large)}: why “{plain_text(view.class_name)}”",
                    "caption": _probability(view),
                }
            )
        footer = (
            {}
            if result is None
            else {"footer": words.footer(result), "code": words.reproduction_line(result)}
        )
        return [
            {
                "id": "picture.large",
                "kind": "image",
                "area": self.area,
                "title": self.title,
                "tiles": tiles,
                "tile_size": 310,
                "tools": True,
                "colours": "signed",
                "opacity": 0.6,
            }
            | footer,
            {
                "id": "picture.said",
                "kind": "text",
                "area": self.area,
                "items": [
                    {"style": "sentence", "text": question_of(methods, large)},
                    {
                        "style": "caption",
                        "text": "Red raises this class, blue lowers it; each map is scaled to its own maximum.",
                    },
                ],
            },
            self._tiles(view, methods, found, pixels),
        ]

    def _ask(self, view: View, method: ex.Explainer) -> ex.Attribution | str:
        """The result, or in words why there is none (yet)."""
        try:
            result: ex.Attribution | None = view.later(
                method.title, method, [view.selection.row], view.target
            )
        except ex.ExplainerError as error:
            return str(error)
        return COMPUTING if result is None else result

    def _tiles(
        self,
        view: View,
        methods: tuple[ex.Explainer, ...],
        found: dict[str, ex.Attribution | str],
        pixels: str,
    ) -> Block:
        tiles = []
        for method in methods:
            name = type(method).__name__
            tile: dict[str, Any] = {
                "id": name,
                "base": pixels,
                "title": method.title,
                "selected": name == view.selection.method,
            }
            answer = found[name]
            if isinstance(answer, ex.Attribution):
                tile["overlay"] = overlay(answer)
            else:
                tile["caption"] = answer
            tiles.append(tile)
        return {
            "id": "picture.methods",
            "kind": "image",
            "area": self.area,
            "title": "Methods side by side",
            "tiles": tiles,
            "tile_size": 150,
            "click": True,
            "tools": False,
        }

    def apply(self, event: Event, view: View) -> Selection:
        if event["type"] == "tile" and event["id"] != "plain":
            return view.selection.change(method=str(event["id"]))
        return view.selection


def plain(view: View, row: int | None = None) -> str:
    """The picture of a row as a PNG."""
    image = view.data.X[view.selection.row if row is None else row]
    return layer_png(image / max(float(view.data.X.max()), 1e-9) if view.data.X.max() > 1 else image)


def overlay(result: ex.Attribution, limit: float | None = None) -> dict[str, Any]:
    """The first map of a result for the browser to paint."""
    values = np.asarray(result.values[0])
    return overlay_values(values, limit or map_limit(values)) | {"smooth": values.shape[-1] >= TINY}


def title_of(methods: tuple[ex.Explainer, ...], name: str) -> str:
    """What people call the method of that class name."""
    return next((method.title for method in methods if type(method).__name__ == name), name)


def question_of(methods: tuple[ex.Explainer, ...], name: str) -> str:
    """The question it answers."""
    return next(
        (method.question for method in methods if type(method).__name__ == name),
        "No picture method applies to this model.",
    )


def _probability(view: View) -> str:
    return f"{plain_text(view.class_name)}: {Scale(view.model.space).level(view.score)}"

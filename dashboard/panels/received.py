"""What does the model receive? The input after all preparation, channel by channel: a wrong order or scale is seen here."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from dashboard.figures.images import as_seen, averaged, layer_png
from dashboard.figures.numbers import number
from dashboard.panels.panel import Block, Event
from dashboard.selection import Selection
from dashboard.view import View

#: Pixels on a side of a channel's picture, and channels shown at most.
SIDE, MOST_CHANNELS = 96, 8

#: What to look for among three channels.
ORDER = (
    "If the model was trained on another order of channels than red, green, blue, it sees the wrong colours: "
)
IN_THE_WORKSPACE = 'declare order = "reversed" in the workspace.'
WHERE_IT_IS_OPENED = "choose “reversed” under “Order of channels” where you open it."
REVERSED = "“together” shows the first channel as red: with the order reversed, red and blue are exchanged."

#: How the order of three channels reads on a screen.
SCREEN = ("red", "green", "blue", "opacity")


class Received:
    """The numbers that the model is given for this picture."""

    name = "received"
    title = "What does the model receive?"
    area = "side"

    def blocks(self, view: View) -> list[Block]:
        image = given(view)
        turned = view.model.preparation is not None and view.model.preparation.order == "reversed"
        ends = float(image.min()), float(image.max())
        tiles = [
            {
                "id": str(place),
                "base": layer_png(_between(averaged(channel[None], SIDE), ends)),
                "title": _name(place, len(image), reverse=turned),
                "caption": f"mean {number(float(channel.mean()), 3)}, {number(float(channel.min()), 3)} to {number(float(channel.max()), 3)}",
            }
            for place, channel in enumerate(image[:MOST_CHANNELS])
        ]
        if len(image) > 1:
            whole = layer_png(as_seen(averaged(image, SIDE), ends))
            tiles.insert(0, {"id": "all", "base": whole, "title": "together"})
        return [
            {
                "id": "received.text",
                "kind": "text",
                "area": self.area,
                "title": self.title,
                "items": _said(view, image),
            },
            {
                "id": "received.channels",
                "kind": "image",
                "area": self.area,
                "tiles": tiles,
                "tile_size": 120,
                "tools": False,
            },
        ]

    def apply(self, event: Event, view: View) -> Selection:
        return view.selection


def _between(channel: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """One grey scale for all channels, so that they can be compared; from black, unless values are negative."""
    low, high = min(0.0, ends[0]), ends[1]
    return np.asarray((channel - low) / max(high - low, 1e-9))


def _name(place: int, count: int, *, reverse: bool) -> str:
    """By position in what the model receives, and where it comes from."""
    if count == 1:
        return "one channel"
    if reverse:
        return f"channel {place + 1} (the file's {count - place})"
    return f"channel {place + 1}" + (f" ({SCREEN[place]})" if count in (3, 4) else "")


def given(view: View) -> np.ndarray:
    """What the model receives for the selected picture, channels first, ``(c, h, w)``."""
    prepared = view.model.preparation
    picture = np.asarray(view.data.X[[view.selection.row]], dtype=np.float32)
    if prepared is None:
        return np.asarray(picture[0])
    return np.asarray(dataclasses.replace(prepared, layout="channels first").array(picture)[0])


def _said(view: View, image: np.ndarray) -> list[dict[str, Any]]:
    channels, height, width = image.shape
    shape = f"{channels} × {height} × {width} numbers (channels, rows, columns)"
    lines = [{"style": "sentence", "text": f"{shape}: {'; '.join(_steps(view))}."}]
    sides = view.model.inputs
    if isinstance(sides, tuple):
        wanted = " × ".join("any" if side is None else str(side) for side in sides)
        lines.append({"style": "caption", "text": f"The model's file asks for {wanted}."})
    if channels == 3:
        prepared = view.model.preparation
        reverse = prepared is not None and prepared.order == "reversed"
        way = WHERE_IT_IS_OPENED if view.workspace.private else IN_THE_WORKSPACE
        lines.append({"style": "caption", "text": REVERSED if reverse else ORDER + way})
    return lines


def _steps(view: View) -> list[str]:
    """What becomes of the pixels of the file, step by step."""
    scale, prepared = view.schema.pixel_scale, view.model.preparation
    steps = [] if scale in (None, 1) else [f"the file's values divided by {number(float(scale or 1))}"]
    if prepared is not None:
        steps += [] if prepared.size is None else ["resized to {} × {}".format(*prepared.size)]
        steps += ["channels in reverse order"] if prepared.order == "reversed" else []
        steps += [f"times {number(prepared.scale)}"] if prepared.scale != 1 else []
        steps += [f"less the mean {_listed(prepared.mean)}"] if prepared.mean else []
        steps += [f"divided by {_listed(prepared.std)}"] if prepared.std else []
        steps += ["given channels last"] if prepared.layout == "channels last" else []
    return steps or ["the file's values as they stand"]


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(number(value) for value in values)
